-- Adds one item to a loaded batch. A batch that has ended runs again.
-- ARGV: batch, item, spec (JSON), item of which it is another take, and whose price it has ('' for none).
-- Returns 1; 0 if the item exists.
local batch, item, spec, original = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = batch_key(batch)
if redis.call('HSETNX', specs_key(batch), item, spec) == 0 then return 0 end
local price = redis.call('HGET', prices_key(batch), original)
if price then redis.call('HSET', prices_key(batch), item, price) end
redis.call('RPUSH', order_key(batch), item)
if original ~= '' then link_take(batch, item, original) end
redis.call('HINCRBY', key, 'n:pending', 1)
redis.call('HINCRBY', key, 'total', 1)
redis.call('HINCRBY', key, 'open', 1)
queue_item(batch, item, 0)
reopen_batch(batch)
return 1
