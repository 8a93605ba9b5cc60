-- A tick could not be started for now: it is tried again.
-- KEYS: prefix. ARGV: schedule, lease, tick, when (ms).
-- Answers how often it was tried; 0 when the lease was lost, or when the tick does not wait any more.
local key = schedule_key(ARGV[1])
if not holds(ARGV[1], ARGV[2]) then return 0 end
if not redis.call('ZSCORE', key .. ':waiting', ARGV[3]) then return 0 end
redis.call('ZADD', key .. ':waiting', ARGV[4], ARGV[3])
return redis.call('HINCRBY', key .. ':tries', ARGV[3], 1)
