-- Prepares an archived batch for its items, which are loaded next. It keeps status, times and revision.
-- ARGV: batch, time of the archiving (ms), then field, value of each field to set.
-- Returns 1; 0 if the batch is not archived since then, or not all of it has left.
local batch, archived = ARGV[1], ARGV[2]
local key = batch_key(batch)
local found, forgotten = read_fields(key, 'archived', 'forgotten')
if found ~= archived or forgotten or redis.call('EXISTS', order_key(batch)) == 1 then return 0 end
for _, field in ipairs(redis.call('HKEYS', key)) do
  if field:find('^n:') then redis.call('HDEL', key, field) end
end
redis.call('HDEL', key, 'archived', 'archiving', 'archive_at', 'loaded', 'takes', 'reused')
redis.call('HSET', key, 'total', 0, 'open', 0, 'cost', 0, 'restoring', string.format('%.0f', now_ms()), unpack(ARGV, 3))
return 1
