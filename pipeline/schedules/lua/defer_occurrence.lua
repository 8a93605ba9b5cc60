-- Makes an occurrence due later whose batch could not be started.
-- ARGV: schedule, lease token, occurrence, due (ms).
-- Returns the number of failed attempts; 0 if the lease was lost or the occurrence does not wait any more.
local name, lease, occurrence, due = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not holds_waiting(name, lease, occurrence) then return 0 end
redis.call('ZADD', waiting_key(name), due, occurrence)
return redis.call('HINCRBY', attempts_key(name), occurrence, 1)
