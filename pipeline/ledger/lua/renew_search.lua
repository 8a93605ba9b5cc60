-- Renews the lease of a search for lost runs.
-- ARGV: lease token, lease (ms).
-- Returns 1; 0 if another process may search by now.
local lease, lease_ms = ARGV[1], ARGV[2]
if redis.call('GET', SEARCH_LEASE) ~= lease then return 0 end
return redis.call('PEXPIRE', SEARCH_LEASE, lease_ms)
