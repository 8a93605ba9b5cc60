-- Makes runs due whose callbacks came. Forged, repeated, late and early callbacks are harmless.
-- ARGV: batch, item, attempt, task id and task token ('' if it names none), what named the task ('callback', 'task list',
-- '' for a late response), of each callback.
-- Returns {1 if a `collect` job is enqueued that has not begun, else 0, then for each callback 1 if the run is due now, 2 if
-- its task must be searched for, else 0}.
local SEARCH_AFTER_CALLBACK_MS = 900000

-- The callback names no task, but its URL proves that the run exists: search for its task at once.
local function search_now(callback)
  local key, now = item_key(callback.batch, callback.item), now_ms()
  redis.call('HSET', key, 'search_until', now + SEARCH_AFTER_CALLBACK_MS, 'searches', 0)
  redis.call('ZADD', SEARCH, now, member_of(callback.batch, callback.item))
  return 2
end

local function record(callback)
  local key = item_key(callback.batch, callback.item)
  local state, attempt, lease = read_fields(key, 'state', 'attempt', 'lease')
  if attempt ~= callback.attempt or (state ~= 'submitting' and state ~= 'running' and state ~= 'unknown') then
    count('callbacks:stale')
    return 0
  end
  if state ~= 'running' and callback.task .. callback.token ~= '' then
    redis.call('HSET', key, 'hint_task', callback.task, 'hint_token', callback.token, 'hint_by', callback.found_by)
  end
  if lease or state == 'submitting' then
    -- A worker holds the item: it is due when the worker releases it.
    redis.call('HSET', key, 'rung', 1)
    count('callbacks:held')
    return 0
  end
  count('callbacks:rung')
  if state == 'unknown' and redis.call('HEXISTS', key, 'hint_task') == 0 then return search_now(callback) end
  redis.call('ZADD', DUE, now_ms(), member_of(callback.batch, callback.item))
  return 1
end

local result = {redis.call('EXISTS', COLLECT_ENQUEUED)}
for _, callback in ipairs(argv_rows(1, 'batch', 'item', 'attempt', 'task', 'token', 'found_by')) do
  local is_done, due = try(record, callback)
  if not is_done then count('set_aside') end
  result[#result + 1] = is_done and due or 0
end
return result
