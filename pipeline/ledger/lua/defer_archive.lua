-- Records that a batch could not be archived, and when it is tried again.
-- ARGV: batch, delay (ms).
local batch, delay = ARGV[1], ARGV[2]
count('not_archived')
if redis.call('EXISTS', batch_key(batch)) == 1 then
  redis.call('HSET', batch_key(batch), 'archive_at', string.format('%.0f', now_ms() + delay))
end
