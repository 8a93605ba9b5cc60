-- Makes runs due whose callbacks came. Forged, repeated, late and early callbacks are harmless.
-- ARGV: batch, item, attempt, task id and task token of the callback ('' if it has none), of each callback.
-- Returns {1 if a `collect` job is enqueued that has not begun, else 0, then for each callback 1 if the run is due now,
-- else 0}.
local function record(callback)
  local key = item_key(callback.batch, callback.item)
  local state, attempt, lease = read_fields(key, 'state', 'attempt', 'lease')
  if attempt ~= callback.attempt or (state ~= 'submitting' and state ~= 'running' and state ~= 'unknown') then
    count('callbacks:stale')
    return 0
  end
  if state ~= 'running' and callback.task .. callback.token ~= '' then
    redis.call('HSET', key, 'hint_task', callback.task, 'hint_token', callback.token)
  end
  if lease or state == 'submitting' then
    -- A worker holds the item: it is due when the worker releases it.
    redis.call('HSET', key, 'rung', 1)
    count('callbacks:held')
    return 0
  end
  count('callbacks:rung')
  if state == 'unknown' and redis.call('HEXISTS', key, 'hint_task') == 0 then return 0 end
  redis.call('ZADD', DUE, now_ms(), member_of(callback.batch, callback.item))
  return 1
end

local result = {redis.call('EXISTS', COLLECT_ENQUEUED)}
for _, callback in ipairs(argv_rows(1, 'batch', 'item', 'attempt', 'task', 'token')) do
  result[#result + 1] = record(callback)
end
return result
