-- Ends pending items as cancelled, some at a time.
-- KEYS: prefix. ARGV: batch, most items, outcome (JSON).
-- Answers {how many, open items of the batch}.
local batch = ARGV[1]
local pending = P .. 'batch:' .. batch .. ':pending'
local items = redis.call('ZRANGE', pending, 0, ARGV[2] - 1)
for _, item in ipairs(items) do
  redis.call('ZREM', pending, item)
  end_item(batch, item, 'pending', 'cancelled', ARGV[3])
end
return {#items, tonumber(redis.call('HGET', batch_key(batch), 'open') or 0)}
