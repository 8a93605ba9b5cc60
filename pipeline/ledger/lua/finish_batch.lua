-- The results are on S3: the batch has ended.
-- KEYS: prefix. ARGV: batch, lease token, status, finished (ms), revision that was written, 1 when somebody is to
-- be told and 0 when not.
-- Answers 1; 0 when the claim was lost or items were opened again meanwhile; 2 when what was written is no longer
-- all there is to say: the results are due once more.
local key = batch_key(ARGV[1])
local f = redis.call('HMGET', key, 'finisher', 'open', 'revision', 'status')
if f[1] ~= ARGV[2] or f[2] ~= '0' then return 0 end
-- Why it was paused is of no interest any more; why it was stopped is.
if f[4] == 'paused' then redis.call('HDEL', key, 'reason') end
redis.call('HSET', key, 'status', ARGV[3])
if redis.call('HSETNX', key, 'finished', ARGV[4]) == 1 and ARGV[6] == '1' then
  redis.call('HSET', key, 'notice', ARGV[5], 'notice_tries', 0)
  redis.call('ZADD', P .. 'notices', now_ms(), ARGV[1])
end
redis.call('HDEL', key, 'finisher', 'finish_until')
redis.call('ZREM', P .. 'turn', ARGV[1])
if f[3] ~= ARGV[5] then
  redis.call('HSET', key, 'restate', 1)
  return 2
end
redis.call('HDEL', key, 'restate')
redis.call('ZREM', P .. 'open', ARGV[1])
return 1
