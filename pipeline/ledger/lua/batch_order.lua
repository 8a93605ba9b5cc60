-- Lists batches in an order.
-- ARGV: first position, max batches to return, 'newest' | 'cost' | 'status', max batches to sort.
-- Returns {number of batches that the list can show, {batch id …}}.
local first, max_batches, order, max_sorted = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local total = redis.call('ZCARD', BATCHES)
if order == 'newest' then
  return {total, redis.call('ZRANGE', BATCHES, first, first + max_batches - 1, 'REV')}
end
local RANK = {paused = 1, failed = 2, partial = 3, running = 4, cancelling = 5, queued = 6, cancelled = 7, succeeded = 8}
local ids = redis.call('ZRANGE', BATCHES, 0, max_sorted - 1, 'REV')
local value, position = {}, {}
for i, batch in ipairs(ids) do
  local fields = redis.pcall('HMGET', batch_key(batch), 'status', 'cost')
  position[batch] = i
  value[batch] = order == 'status' and (RANK[fields[1]] or 0) or -(tonumber(fields[2] or 0) or 0)
end
table.sort(ids, function(a, b)
  if value[a] ~= value[b] then return value[a] < value[b] end
  return position[a] < position[b]
end)
local page = {}
for i = first + 1, math.min(first + max_batches, #ids) do page[#page + 1] = ids[i] end
return {#ids, page}
