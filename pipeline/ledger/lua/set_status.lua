-- Changes the status of a batch where it is one of those named.
-- KEYS: prefix. ARGV: batch, to status, reason ('' for none), from status …
-- Answers 1 when it changed, 0 when not, -1 where there is no such batch.
local key = batch_key(ARGV[1])
local status = redis.call('HGET', key, 'status')
if not status then return -1 end
for i = 4, #ARGV do
  if status == ARGV[i] then
    redis.call('HSET', key, 'status', ARGV[2])
    if ARGV[3] ~= '' then redis.call('HSET', key, 'reason', ARGV[3]) else redis.call('HDEL', key, 'reason') end
    return 1
  end
end
return 0
