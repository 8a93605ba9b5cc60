-- Removes a notification that was sent, or that is not attempted again.
-- ARGV: batch, revision.
-- Returns 1; 0 if the batch has ended again: that end has a notification of its own.
local batch, revision = ARGV[1], ARGV[2]
if redis.call('HGET', batch_key(batch), 'notice') ~= revision then return 0 end
redis.call('HDEL', batch_key(batch), 'notice', 'notice_tries')
redis.call('ZREM', DELIVERIES, batch)
return 1
