-- The worker that had claimed a run knows that it did not post it, though its lease has run out meanwhile: what was
-- feared lost was never sent, so the item simply waits for its next attempt.
-- KEYS: prefix. ARGV: batch, item, attempt.
-- Answers 1; 0 when the item has moved on.
local batch, item = ARGV[1], ARGV[2]
local key = item_key(batch, item)
local f = redis.call('HMGET', key, 'state', 'attempt', 'hint_task')
if f[1] ~= 'unknown' or f[2] ~= ARGV[3] or f[3] then return 0 end
if redis.call('HDEL', P .. 'batch:' .. batch .. ':ended', item) == 1 then
  redis.call('HINCRBY', batch_key(batch), 'open', 1)
  reopen_batch(batch, redis.call('HGET', batch_key(batch), 'reason'))
end
redis.call('ZREM', P .. 'adopt', member(batch, item))
redis.call('HINCRBY', key, 'tries', -1)
move(batch, item, 'unknown', 'pending')
free_place(batch, item)
queue_item(batch, item, 0)
return 1
