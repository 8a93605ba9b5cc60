-- Opens a batch, once. Does nothing where the id is known.
-- KEYS: prefix. ARGV: batch id, then field, value, field, value … of the batch.
-- Answers 1 when it was opened, 0 when it was there.
local key = batch_key(ARGV[1])
if redis.call('EXISTS', key) == 1 then return 0 end
redis.call('HSET', key, 'created', now_ms(), unpack(ARGV, 2))
redis.call('ZADD', P .. 'batches', now_ms(), ARGV[1])
return 1
