-- Retries named items that have failed.
-- ARGV: batch, then items.
-- Returns the items that are retried.
local batch, retried, states = ARGV[1], {}, {failed = true}
for i = 2, #ARGV do
  if try_member(order_key(batch), ARGV[i], retry_item, batch, ARGV[i], states) then retried[#retried + 1] = ARGV[i] end
end
if #retried > 0 then reopen_batch(batch) end
return retried
