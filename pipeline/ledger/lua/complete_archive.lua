-- Records that nothing but the row is left of an archived batch.
-- ARGV: batch, time of the archiving (ms).
-- Returns 1; 0 if it was recorded, or the batch was restored or forgotten meanwhile.
local batch, archived = ARGV[1], ARGV[2]
local key = batch_key(batch)
if redis.call('HGET', key, 'archived') ~= archived or redis.call('HDEL', key, 'archiving') == 0 then return 0 end
redis.call('HDEL', key, 'archive_at')
count('archived')
return 1
