-- Puts items on a batch, in manifest order. An item that is there already is left as it is, so that a `start`
-- which was cut off is simply run again.
-- KEYS: prefix. ARGV: batch id, then item id, spec (JSON), item id, spec …
-- Answers how many were new.
local batch, added = ARGV[1], 0
local base = P .. 'batch:' .. batch
-- Microseconds keep the manifest's order among items that are due at the same moment.
local first = redis.call('LLEN', base .. ':order')
local created = tonumber(redis.call('HGET', base, 'created'))
for i = 2, #ARGV, 2 do
  if redis.call('HSETNX', base .. ':specs', ARGV[i], ARGV[i + 1]) == 1 then
    redis.call('RPUSH', base .. ':order', ARGV[i])
    redis.call('ZADD', base .. ':pending', string.format('%.3f', created + (first + added) / 1000), ARGV[i])
    added = added + 1
  end
end
if added > 0 then
  redis.call('HINCRBY', base, 'n:pending', added)
  redis.call('HINCRBY', base, 'total', added)
  redis.call('HINCRBY', base, 'open', added)
end
return added
