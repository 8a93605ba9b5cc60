-- Requests previews: each becomes due now, with all attempts ahead of it.
-- ARGV: batch, max requests in all, 1 to leave requests that exist as they are (else 0), items… ('' for the batch: its
-- items are searched for missing previews).
-- Above the maximum the newest requests are dropped: pages show the files themselves.
local batch, max_requests, only_new = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local now = now_ms()
for i = 4, #ARGV do
  local member = member_of(batch, ARGV[i])
  if not (only_new and redis.call('ZSCORE', PREVIEWS, member)) then
    redis.call('ZADD', PREVIEWS, now, member)
    redis.call('HDEL', previews_key(batch), attempts_field(ARGV[i]))
  end
end
redis.call('ZREMRANGEBYRANK', PREVIEWS, max_requests, -1)
