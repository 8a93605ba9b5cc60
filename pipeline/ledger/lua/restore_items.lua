-- Puts items on a batch as S3 knows them, in order. An item that is there already is left as it is.
-- KEYS: prefix. ARGV: batch, ms to wait for the callback of a lost run, then for each item: id, spec (JSON), state,
-- attempt, task id, task token, cost (USD text, '' none), cost (pico-USD), outcome (JSON, '' where it has not ended).
-- Answers how many were new.
local batch, now, added = ARGV[1], now_ms(), 0
local base = P .. 'batch:' .. batch
for i = 3, #ARGV, 9 do
  local item, state, outcome = ARGV[i], ARGV[i + 2], ARGV[i + 8]
  if redis.call('HSETNX', base .. ':specs', item, ARGV[i + 1]) == 1 then
    added = added + 1
    redis.call('RPUSH', base .. ':order', item)
    redis.call('HINCRBY', base, 'n:' .. state, 1)
    redis.call('HINCRBY', base, 'total', 1)
    redis.call('HSET', item_key(batch, item), 'state', state, 'attempt', ARGV[i + 3], 'tries', ARGV[i + 3],
               'task', ARGV[i + 4], 'token', ARGV[i + 5], 'posted', now)
    if ARGV[i + 6] ~= '' then
      redis.call('HSET', item_key(batch, item), 'paid', ARGV[i + 6])
      redis.call('HINCRBY', base, 'cost', ARGV[i + 7])
    end
    if outcome ~= '' then
      redis.call('HSET', base .. ':ended', item, outcome)
    else
      redis.call('HINCRBY', base, 'open', 1)
      if state == 'pending' then queue_item(batch, item, 0)
      elseif state == 'unknown' then redis.call('ZADD', P .. 'adopt', now + ARGV[2], member(batch, item))
      else redis.call('ZADD', P .. 'due', now, member(batch, item)) end
      if state == 'unknown' or state == 'running' then take_place(batch, item) end
    end
  end
end
return added
