-- The item stays as it is and is looked at again later; at once when a callback rang while it was held.
-- KEYS: prefix. ARGV: batch, item, state, attempt, lease, delay (ms), counter to raise ('looks' | 'copies' | '').
-- Answers 1; 0 when the item is no longer the caller's.
local batch, item = ARGV[1], ARGV[2]
if not holds(batch, item, ARGV[3], ARGV[4], ARGV[5]) then return 0 end
local key = item_key(batch, item)
local rung = redis.call('HGET', key, 'rung')
redis.call('HDEL', key, 'lease', 'rung')
if ARGV[7] ~= '' then
  redis.call('HINCRBY', key, ARGV[7], 1)
else
  redis.call('HDEL', key, 'looks')
end
if ARGV[3] == 'unknown' and ARGV[6] == '0' then
  -- What the callback named is not ours: there is nothing more to look at.
  redis.call('HDEL', key, 'hint_task', 'hint_token')
  redis.call('ZREM', P .. 'due', member(batch, item))
else
  redis.call('ZADD', P .. 'due', now_ms() + (rung and 0 or ARGV[6]), member(batch, item))
end
return 1
