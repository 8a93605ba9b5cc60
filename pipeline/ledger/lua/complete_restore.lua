-- Records that all items of a restored batch are on the ledger. From now on it is kept as if it had ended now.
-- ARGV: batch, price of one run (pico-USD, 0 if unknown), max failures that it tolerates.
-- Returns 1; 0 if it was recorded; -1 if the batch was archived or forgotten meanwhile.
local batch, price, max_failures = ARGV[1], ARGV[2], ARGV[3]
local key = batch_key(batch)
local restoring, loaded, archived = read_fields(key, 'restoring', 'loaded', 'archived')
if archived or not (restoring or loaded) then return -1 end
if not restoring then return 0 end
redis.call('HDEL', key, 'restoring')
redis.call('HSET', key, 'price', price, 'tolerated', max_failures, 'loaded', 1,
           'restored', string.format('%.0f', now_ms()))
return 1
