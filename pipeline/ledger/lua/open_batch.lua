-- Creates a batch, once. A submission that was cancelled before it was accepted makes room for another one of the same id.
-- ARGV: batch, then field, value of each field.
-- Returns 1; 0 if the id exists.
local batch = ARGV[1]
local key, now = batch_key(batch), now_ms()
local status, accepted = read_fields(key, 'status', 'accepted')
if status and (status ~= 'cancelled' or accepted) then return 0 end
drop_submission(batch)
redis.call('DEL', key)
redis.call('HSET', key, 'created', now, 'submitted', now, unpack(ARGV, 2))
redis.call('ZADD', BATCHES, now, batch)
-- The sweep ends a submission that is not completed.
redis.call('ZADD', OPEN_BATCHES, now, batch)
return 1
