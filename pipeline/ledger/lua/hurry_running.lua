-- Makes running and lost runs of a batch due now, some at a time: their cancellation is to be told to the vendor.
-- KEYS: prefix. ARGV: first, last position in manifest order, batch.
-- Answers how many items were looked at.
local batch = ARGV[3]
local items = redis.call('LRANGE', P .. 'batch:' .. batch .. ':order', ARGV[1], ARGV[2])
for _, item in ipairs(items) do
  local f = redis.call('HMGET', item_key(batch, item), 'state', 'lease')
  if f[1] == 'running' then
    if f[2] then redis.call('HSET', item_key(batch, item), 'rung', 1)
    else redis.call('ZADD', P .. 'due', now_ms(), member(batch, item)) end
  end
end
return #items
