-- Leases a schedule, or renews the lease: one process at a time starts its batches.
-- ARGV: schedule, lease token, lease (ms).
-- Returns 1; 0 if another process holds the lease.
local name, lease, lease_ms = ARGV[1], ARGV[2], ARGV[3]
local key, now = schedule_key(name), now_ms()
local held_lease, leased_until = read_fields(key, 'lease', 'lease_until')
if held_lease and held_lease ~= lease and tonumber(leased_until) > now then return 0 end
redis.call('HSET', key, 'lease', lease, 'lease_until', now + lease_ms)
return 1
