-- A person's verdict on an item. Where the results are written or being written, they are due once more, as the
-- next revision.
-- KEYS: prefix. ARGV: batch, item, verdict (JSON; '' takes it back).
-- Answers 1 when the results are due, 0 when they will be at the end anyway, -1 where there is no such item.
local key, base = batch_key(ARGV[1]), P .. 'batch:' .. ARGV[1]
if redis.call('HEXISTS', base .. ':specs', ARGV[2]) == 0 then return -1 end
local before = redis.call('HGET', base .. ':reviews', ARGV[2])
if before then redis.call('HINCRBY', key, 'marked:' .. cjson.decode(before).mark, -1) end
if ARGV[3] ~= '' then redis.call('HINCRBY', key, 'marked:' .. cjson.decode(ARGV[3]).mark, 1) end
if ARGV[3] == '' then redis.call('HDEL', base .. ':reviews', ARGV[2])
else redis.call('HSET', base .. ':reviews', ARGV[2], ARGV[3]) end
local f = redis.call('HMGET', key, 'finished', 'finisher', 'restate')
if not f[1] and not f[2] then return 0 end
if not f[3] then
  redis.call('HINCRBY', key, 'revision', 1)
  redis.call('HSET', key, 'restate', 1)
  redis.call('ZADD', P .. 'open', now_ms(), ARGV[1])
end
return 1
