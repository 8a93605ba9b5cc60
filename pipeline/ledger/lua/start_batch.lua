-- Starts a batch whose items are loaded. A paused or cancelled batch keeps its status.
-- ARGV: batch, price of one run (pico-USD, 0 if unknown), max failures that it tolerates.
-- Returns 1 if the batch runs now, else 0.
local batch, price, max_failures = ARGV[1], ARGV[2], ARGV[3]
local key = batch_key(batch)
redis.call('HSET', key, 'price', price, 'tolerated', max_failures, 'loaded', 1)
if redis.call('HGET', key, 'status') ~= 'queued' then return 0 end
redis.call('HSET', key, 'status', 'running')
redis.call('ZADD', FAIRNESS_QUEUE, 'NX', 0, batch)
redis.call('ZADD', OPEN_BATCHES, now_ms(), batch)
return 1
