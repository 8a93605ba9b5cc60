-- Callbacks rang for runs: those become due. Forged, repeated, late and early ones do no harm.
-- KEYS: prefix. ARGV: batch, item, attempt, task id and task token as the callback claims ('' when it does not), of
-- each.
-- Answers {1 when a `collect` job is on its way that has not begun (see wake.py) and else 0, then for each 1 or 0:
-- whether there is something to look at now}.
local function ring(batch, item, attempt, task, token)
  local key = item_key(batch, item)
  local f = redis.call('HMGET', key, 'state', 'attempt', 'lease')
  local state = f[1]
  if f[2] ~= attempt or (state ~= 'submitting' and state ~= 'running' and state ~= 'unknown') then
    count('callbacks:stale')
    return 0
  end
  if state ~= 'running' and task .. token ~= '' then
    redis.call('HSET', key, 'hint_task', task, 'hint_token', token)
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
end

local rung = {redis.call('EXISTS', P .. 'wake:collect')}
for i = 1, #ARGV, 5 do rung[#rung + 1] = ring(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]) end
return rung
