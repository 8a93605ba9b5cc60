-- Makes the results of an ended batch due again, as the next revision.
-- ARGV: batch.
-- Returns 1; 0 if the batch has not ended, or its results are due or being written.
local batch = ARGV[1]
local key = batch_key(batch)
local finished, finalization_lease, rewrite, archived = read_fields(key, 'finished', 'finisher', 'restate', 'archived')
if not finished or finalization_lease or rewrite or archived then return 0 end
redis.call('HINCRBY', key, 'revision', 1)
redis.call('HSET', key, 'restate', 1)
redis.call('ZADD', OPEN_BATCHES, now_ms(), batch)
return 1
