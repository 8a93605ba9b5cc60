-- Releases a schedule.
-- ARGV: schedule, lease token.
-- Returns 1; 0 if the lease was lost.
local name, lease = ARGV[1], ARGV[2]
local key = schedule_key(name)
if redis.call('HGET', key, 'lease') ~= lease then return 0 end
redis.call('HDEL', key, 'lease', 'lease_until')
return 1
