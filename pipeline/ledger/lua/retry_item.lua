-- Retries one item that has ended.
-- ARGV: batch, item, then the states that it may have ended in.
-- Returns 1; 0 if it has not ended in one of them; -1 if there is no such item.
local batch, item, states = ARGV[1], ARGV[2], argv_set(3)
if redis.call('HEXISTS', specs_key(batch), item) == 0 then return -1 end
if not retry_item(batch, item, states) then return 0 end
reopen_batch(batch)
return 1
