-- A notice was told or given up, or is to be told later.
-- KEYS: prefix. ARGV: batch, revision, ms until it is told again (-1: not again).
-- Answers 1; 0 when the batch has ended anew meanwhile.
local key = batch_key(ARGV[1])
if redis.call('HGET', key, 'notice') ~= ARGV[2] then return 0 end
if ARGV[3] == '-1' then
  redis.call('HDEL', key, 'notice', 'notice_tries')
  redis.call('ZREM', P .. 'notices', ARGV[1])
else
  redis.call('ZADD', P .. 'notices', now_ms() + ARGV[3], ARGV[1])
end
return 1
