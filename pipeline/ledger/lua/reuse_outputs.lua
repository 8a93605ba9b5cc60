-- Assigns to items the outputs of items that bought the same: they are collecting then, and these outputs are copied. Within a
-- batch each of these is used once, because equal items of a batch are takes.
-- ARGV: batch, then for each item: id, state (pending | submitting), attempt and lease (of a submitting item), digest.
-- Returns for each item its attempt, and "batch/item", task and outcome (JSON) with tabs between them, '' if there is nothing
-- to reuse.
local batch = ARGV[1]
local now = now_ms()

-- Return the newest source of a digest that no other item of this batch uses.
local function find_source(item, key)
  local lines = read_lines(key)
  for i = #lines, 1, -1 do
    local source, task, outcome = read_source(lines[i])
    local user = source and redis.call('HGET', reused_key(batch), source)
    if source and split_name(source) ~= batch and (not user or user == item) then return source, task, outcome end
  end
end

-- Return whether an item still waits, or is held by the caller.
local function is_available(row)
  if row.state == 'submitting' then return holds_lease(batch, row.item, 'submitting', row.attempt, row.lease) end
  return redis.call('ZSCORE', pending_key(batch), row.item)
end

local function reuse(row)
  if not is_available(row) then return '', '0' end
  local source, task, outcome = find_source(row.item, row.key)
  if not source then return '', '0' end
  local key = item_key(batch, row.item)
  if row.state == 'submitting' then
    -- No run was posted: the attempt does not count.
    redis.call('HINCRBY', key, 'tries', -1)
    redis.call('HDEL', key, 'lease', 'rung')
    redis.call('ZREM', LEASES, member_of(batch, row.item))
    -- If it is the probe of a paused account, the next item is one in its place.
    if redis.call('HGET', ACCOUNT, 'probing') == row.lease then
      redis.call('HDEL', ACCOUNT, 'probing')
      redis.call('HSET', ACCOUNT, 'probe_at', now)
    end
  end
  redis.call('ZREM', pending_key(batch), row.item)
  change_state(batch, row.item, row.state, 'collecting')
  release_slot(batch, row.item)
  redis.call('HDEL', key, 'token', 'looks', 'copies')
  redis.call('HSETNX', key, 'attempt', 0)
  redis.call('HSET', key, 'key', row.key, 'reused_from', source, 'task', task, 'source', outcome, 'posted', now)
  redis.call('HSET', reused_key(batch), source, row.item)
  redis.call('ZADD', DUE, now, member_of(batch, row.item))
  return source .. '\t' .. task .. '\t' .. outcome, redis.call('HGET', key, 'attempt')
end

local found = {}
for _, row in ipairs(argv_rows(2, 'item', 'state', 'attempt', 'lease', 'key')) do
  local line, attempt = reuse(row)
  found[#found + 1] = {attempt, line}
end
return found
