-- Adds one item to a loaded batch. A batch that has ended runs again.
-- ARGV: batch, item, spec (JSON).
-- Returns 1; 0 if the item exists.
local batch, item, spec = ARGV[1], ARGV[2], ARGV[3]
local key = batch_key(batch)
if redis.call('HSETNX', specs_key(batch), item, spec) == 0 then return 0 end
redis.call('RPUSH', order_key(batch), item)
redis.call('HINCRBY', key, 'n:pending', 1)
redis.call('HINCRBY', key, 'total', 1)
redis.call('HINCRBY', key, 'open', 1)
queue_item(batch, item, 0)
reopen_batch(batch)
return 1
