-- Creates a batch, once.
-- ARGV: batch, then field, value of each field.
-- Returns 1; 0 if the id exists.
local batch = ARGV[1]
if redis.call('EXISTS', batch_key(batch)) == 1 then return 0 end
redis.call('HSET', batch_key(batch), 'created', now_ms(), unpack(ARGV, 2))
redis.call('ZADD', BATCHES, now_ms(), batch)
return 1
