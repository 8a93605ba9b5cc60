-- Changes the status of a batch.
-- ARGV: batch, new status, reason ('' for none), then the statuses that it may have now.
-- Returns 1; 0 if it has another status; -1 if there is no such batch.
local batch, new_status, reason, allowed = ARGV[1], ARGV[2], ARGV[3], argv_set(4)
local key = batch_key(batch)
local status = redis.call('HGET', key, 'status')
if not status then return -1 end
if not allowed[status] then return 0 end
redis.call('HSET', key, 'status', new_status)
if reason ~= '' then
  redis.call('HSET', key, 'reason', reason)
else
  redis.call('HDEL', key, 'reason')
end
return 1
