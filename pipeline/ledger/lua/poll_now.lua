-- Makes some running items of a batch due now.
-- ARGV: batch, first and last position in manifest order.
-- Returns how many items were scanned.
local batch, first, last = ARGV[1], ARGV[2], ARGV[3]
local items = redis.call('LRANGE', order_key(batch), first, last)

local function poll(item)
  local state, lease = read_fields(item_key(batch, item), 'state', 'lease')
  if state == 'running' and lease then
    redis.call('HSET', item_key(batch, item), 'rung', 1)
  elseif state == 'running' then
    redis.call('ZADD', DUE, now_ms(), member_of(batch, item))
  end
end

for _, item in ipairs(items) do try_member(order_key(batch), item, poll, item) end
return #items
