-- The results are on S3: the batch has ended.
-- KEYS: prefix. ARGV: batch, lease token, status, finished (ms).
-- Answers 1; 0 when the claim was lost or items were opened again meanwhile.
local key = batch_key(ARGV[1])
local f = redis.call('HMGET', key, 'finisher', 'open')
if f[1] ~= ARGV[2] or f[2] ~= '0' then return 0 end
redis.call('HSET', key, 'status', ARGV[3], 'finished', ARGV[4])
redis.call('HDEL', key, 'finisher', 'finish_until')
redis.call('ZREM', P .. 'open', ARGV[1])
redis.call('ZREM', P .. 'turn', ARGV[1])
return 1
