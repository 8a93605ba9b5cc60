-- Ends leases and waits whose time is over. A submission that was not marked as posting goes back to pending; one that
-- was marked is an unknown run. An unknown run that was not found in time is held as unknown, or
-- submitted again if a search of the vendor's whole list did not find it.
-- ARGV: max items of each kind, ms in which an unknown run may be found, 'hold' | 'resubmit', outcome of a held item (JSON).
-- Returns {expired submissions, held, resubmitted, batches of held items {id …}}.
local max_items, adopt_wait, on_unknown, held_outcome = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now = now_ms()

local function expire_submission(batch, item)
  redis.call('ZREM', LEASES, member_of(batch, item))
  local state, posting = read_fields(item_key(batch, item), 'state', 'posting')
  if state ~= 'submitting' then return 0 end
  if posting then
    mark_run_unknown(batch, item, now, now + adopt_wait)
  else
    redis.call('HDEL', item_key(batch, item), 'lease', 'rung')
    return_unposted(batch, item, 'submitting')
  end
  return 1
end

-- The state stays `unknown`; the item counts as ended. Its run may be found later, so its price stays reserved.
local function hold(batch, item)
  leave_slot(batch, item)
  redis.call('HSET', outcomes_key(batch), item, held_outcome)
  redis.call('HINCRBY', batch_key(batch), 'open', -1)
  count('ended:unknown')
  count_in_timeline(batch, 'unknown')
end

-- Returns what was done with the run: 'held', 'resubmitted' or nil, and its batch.
local function expire_adoption(batch, item)
  local key, member = item_key(batch, item), member_of(batch, item)
  redis.call('ZREM', ADOPT, member)
  if redis.call('HGET', key, 'state') ~= 'unknown' then return nil, batch end
  if redis.call('ZSCORE', DUE, member) then
    -- A callback named its task: the run is adopted as soon as the vendor responds.
    redis.call('ZADD', ADOPT, now + adopt_wait, member)
    return nil, batch
  end
  redis.call('HDEL', key, 'lease', 'rung')
  -- Without a search of the whole list, that no task was found proves nothing: a person decides.
  local searched, attempt = read_fields(key, 'searched', 'attempt')
  if on_unknown ~= 'resubmit' or searched ~= attempt then
    hold(batch, item)
    return 'held', batch
  end
  release_slot(batch, item)
  change_state(batch, item, 'unknown', 'pending')
  queue_item(batch, item, 0)
  return 'resubmitted', batch
end

-- A search reads fewer tasks than that, and none from before the lost run: an older task is never taken for one.
local MAX_TASKS, MAX_TASK_AGE_MS = 20000, 7 * 86400000
redis.call('ZREMRANGEBYSCORE', TASKS, '-inf', now - MAX_TASK_AGE_MS)
redis.call('ZREMRANGEBYRANK', TASKS, 0, -MAX_TASKS - 1)

-- A slot without an active run would be taken for ever.
local function check_active(batch, item)
  local state = redis.call('HGET', item_key(batch, item), 'state')
  if state ~= 'submitting' and state ~= 'running' and state ~= 'unknown' then error('It has no active run.') end
end
for _, member in ipairs(redis.call('SRANDMEMBER', ACTIVE, max_items)) do try_run(ACTIVE, member, check_active) end

local expired, done, batches = 0, {held = 0, resubmitted = 0}, {}
for _, member in ipairs(due_members(LEASES, now, max_items)) do
  expired = expired + (try_run(LEASES, member, expire_submission) or 0)
end
for _, member in ipairs(due_members(ADOPT, now, max_items)) do
  local action, batch = try_run(ADOPT, member, expire_adoption)
  if action then done[action] = done[action] + 1 end
  if action == 'held' then batches[#batches + 1] = batch end
end
return {expired, done.held, done.resubmitted, batches}
