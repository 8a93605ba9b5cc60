-- Ends some pending items as cancelled.
-- ARGV: batch, max items, outcome (JSON).
-- Returns {items ended, items of the batch that are still open}.
local batch, max_items, outcome = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local items = redis.call('ZRANGE', pending_key(batch), 0, max_items - 1)
for _, item in ipairs(items) do
  redis.call('ZREM', pending_key(batch), item)
  try_member(pending_key(batch), item, end_item, batch, item, 'pending', 'cancelled', outcome)
end
return {#items, tonumber(redis.call('HGET', batch_key(batch), 'open') or 0)}
