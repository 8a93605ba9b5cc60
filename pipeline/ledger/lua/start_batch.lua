-- Every item is on the ledger: the batch may run. A paused or cancelled one stays what it is.
-- KEYS: prefix. ARGV: batch id, price of one run (pico-USD, 0: not known), most failures tolerated.
-- Answers 1 when the batch runs now.
local key = batch_key(ARGV[1])
redis.call('HSET', key, 'price', ARGV[2], 'tolerated', ARGV[3], 'loaded', 1)
if redis.call('HGET', key, 'status') ~= 'queued' then return 0 end
redis.call('HSET', key, 'status', 'running')
redis.call('ZADD', P .. 'turn', 'NX', 0, ARGV[1])
redis.call('ZADD', P .. 'open', now_ms(), ARGV[1])
return 1
