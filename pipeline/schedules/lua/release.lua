-- Lets a schedule go.
-- KEYS: prefix. ARGV: schedule, lease.
-- Answers 1; 0 when the lease was lost.
if not holds(ARGV[1], ARGV[2]) then return 0 end
redis.call('HDEL', schedule_key(ARGV[1]), 'lease', 'lease_until')
return 1
