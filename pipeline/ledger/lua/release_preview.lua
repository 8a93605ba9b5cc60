-- Ends the lease of a request for previews.
-- ARGV: batch, item or '', lease, delay (ms; -1: the request is done).
-- Returns 1; 0 if the lease was lost: the request was made again, or is of another worker now.
local batch, item, lease, delay = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local member = member_of(batch, item)
if redis.call('ZSCORE', PREVIEWS, member) ~= lease then return 0 end
if delay >= 0 then
  redis.call('ZADD', PREVIEWS, now_ms() + delay, member)
else
  redis.call('ZREM', PREVIEWS, member)
  redis.call('HDEL', previews_key(batch), attempts_field(item))
end
return 1
