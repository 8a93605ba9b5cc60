-- Makes a notification due later.
-- ARGV: batch, revision, delay (ms).
-- Returns 1; 0 if the batch has ended again: that end has a notification of its own.
local batch, revision, delay = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', batch_key(batch), 'notice') ~= revision then return 0 end
redis.call('ZADD', DELIVERIES, now_ms() + delay, batch)
return 1
