-- Drops some items of an archived batch, and after the last one all else but its row.
-- ARGV: batch, time of the archiving (ms), max items.
-- Returns how many items are left; -1 if the batch was restored or forgotten meanwhile.
local batch, archived, max_items = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HGET', batch_key(batch), 'archived') ~= archived then return -1 end
local items = redis.call('LRANGE', order_key(batch), 0, max_items - 1)
for _, item in ipairs(items) do
  local member = member_of(batch, item)
  remove_bought(batch, item)
  redis.call('UNLINK', item_key(batch, item))
  for _, queue in ipairs({DUE, LEASES, ADOPT, SEARCH, PREVIEWS}) do redis.call('ZREM', queue, member) end
  for _, set in ipairs({LOST, ACTIVE}) do redis.call('SREM', set, member) end
end
redis.call('LTRIM', order_key(batch), max_items, -1)
local left = redis.call('LLEN', order_key(batch))
if left == 0 then
  for _, part_key in ipairs(parts_of(batch)) do redis.call('UNLINK', part_key) end
end
return left
