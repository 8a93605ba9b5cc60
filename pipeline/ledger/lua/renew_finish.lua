-- Renews the claim to write a batch's results.
-- KEYS: prefix. ARGV: batch, lease (ms), lease token.
-- Answers 1; 0 when the claim was lost.
local key = batch_key(ARGV[1])
if redis.call('HGET', key, 'finisher') ~= ARGV[3] then return 0 end
redis.call('HSET', key, 'finish_until', now_ms() + ARGV[2])
return 1
