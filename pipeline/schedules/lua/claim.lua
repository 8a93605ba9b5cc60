-- Claims a schedule: one starts its ticks at a time. Who holds it already keeps it for longer.
-- KEYS: prefix. ARGV: schedule, lease, ms until it ends.
-- Answers 1; 0 when somebody else holds it.
local key = schedule_key(ARGV[1])
local f = redis.call('HMGET', key, 'lease', 'lease_until')
if f[1] and f[1] ~= ARGV[2] and tonumber(f[2]) > now_ms() then return 0 end
redis.call('HSET', key, 'lease', ARGV[2], 'lease_until', now_ms() + ARGV[3])
return 1
