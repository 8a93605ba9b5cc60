-- Retries some of the items that have ended.
-- ARGV: batch, first and last position in manifest order, then the states that items may have ended in.
-- Returns {items scanned, items retried}.
local batch, first, last, states = ARGV[1], ARGV[2], ARGV[3], argv_set(4)
local items, retried = redis.call('LRANGE', order_key(batch), first, last), 0
for _, item in ipairs(items) do
  if try_member(order_key(batch), item, retry_item, batch, item, states) then retried = retried + 1 end
end
if retried > 0 then reopen_batch(batch) end
return {#items, retried}
