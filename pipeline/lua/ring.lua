-- A callback rang for a run: it becomes due. Forged, repeated, late and early ones do no harm.
-- KEYS: prefix. ARGV: batch, item, attempt, task id and task token as the callback claims ('' when it does not).
-- Answers 1 when there is something to look at now, else 0.
local batch, item = ARGV[1], ARGV[2]
local key = item_key(batch, item)
local f = redis.call('HMGET', key, 'state', 'attempt', 'lease')
local state = f[1]
if f[2] ~= ARGV[3] or (state ~= 'submitting' and state ~= 'running' and state ~= 'unknown') then
  count('callbacks:stale')
  return 0
end
if state ~= 'running' and ARGV[4] .. ARGV[5] ~= '' then
  redis.call('HSET', key, 'hint_task', ARGV[4], 'hint_token', ARGV[5])
end
if f[3] or state == 'submitting' then
  -- Somebody holds it: told when they put it down.
  redis.call('HSET', key, 'rung', 1)
  count('callbacks:held')
  return 0
end
count('callbacks:rung')
if state == 'unknown' and redis.call('HEXISTS', key, 'hint_task') == 0 then return 0 end
redis.call('ZADD', P .. 'due', now_ms(), member(batch, item))
return 1
