-- The attempt came to nothing and cost nothing: the item waits for the next one.
-- KEYS: prefix. ARGV: batch, item, from state (submitting | running), attempt, lease, delay (ms),
-- 1 when it counts as an attempt and 0 when it was only turned away.
-- Answers 1; 0 when the item is no longer the caller's; 2 when its batch is being cancelled, so that it must end.
local batch, item, from = ARGV[1], ARGV[2], ARGV[3]
if not holds(batch, item, from, ARGV[4], ARGV[5]) then return 0 end
local key = item_key(batch, item)
move(batch, item, from, 'pending')
free_place(batch, item)
count(ARGV[7] == '0' and 'refused' or 'retried')
if ARGV[7] == '0' then
  redis.call('HINCRBY', key, 'tries', -1)
  redis.call('HINCRBY', key, 'refusals', 1)
end
redis.call('HDEL', key, 'lease')
redis.call('ZREM', P .. 'leases', member(batch, item))
redis.call('ZREM', P .. 'due', member(batch, item))
queue_item(batch, item, ARGV[6])
return redis.call('HGET', batch_key(batch), 'status') == 'cancelling' and 2 or 1
