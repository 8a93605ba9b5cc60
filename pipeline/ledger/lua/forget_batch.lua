-- Deletes the row of an archived batch.
-- ARGV: batch, time of the archiving (ms).
-- Returns 1; 0 if the batch was restored or forgotten meanwhile.
local batch, archived = ARGV[1], ARGV[2]
if redis.call('HGET', batch_key(batch), 'archived') ~= archived then return 0 end
redis.call('ZREM', BATCHES, batch)
redis.call('DEL', batch_key(batch))
return 1
