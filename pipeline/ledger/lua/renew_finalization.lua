-- Renews the lease for writing a batch's results.
-- ARGV: batch, lease (ms), lease token.
-- Returns 1; 0 if the lease was lost.
local batch, lease_ms, lease = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', batch_key(batch), 'finisher') ~= lease then return 0 end
redis.call('HSET', batch_key(batch), 'finish_until', now_ms() + lease_ms)
return 1
