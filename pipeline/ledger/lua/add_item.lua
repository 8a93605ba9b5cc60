-- One more item on a batch that is loaded; a batch that had ended is open again.
-- KEYS: prefix. ARGV: batch, item, spec (JSON).
-- Answers 1; 0 when there is such an item.
local batch, item = ARGV[1], ARGV[2]
local base = P .. 'batch:' .. batch
if redis.call('HSETNX', base .. ':specs', item, ARGV[3]) == 0 then return 0 end
redis.call('RPUSH', base .. ':order', item)
redis.call('HINCRBY', base, 'n:pending', 1)
redis.call('HINCRBY', base, 'total', 1)
redis.call('HINCRBY', base, 'open', 1)
queue_item(batch, item, 0)
reopen_batch(batch)
return 1
