-- Records that the manifest and all inputs of a batch are on S3.
-- ARGV: batch, digest of its manifest ('' for any).
-- Returns 1; 0 if the submission was cancelled, or replaced by one with another manifest.
local batch, digest = ARGV[1], ARGV[2]
if not is_submission_of(batch, digest) then return 0 end
redis.call('HSET', batch_key(batch), 'accepted', 1)
redis.call('ZADD', OPEN_BATCHES, 'NX', 0, batch)
return 1
