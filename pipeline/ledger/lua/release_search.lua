-- Releases the lease of the search for lost runs.
-- ARGV: lease token.
-- Returns 1; 0 if the lease was lost.
local lease = ARGV[1]
if redis.call('GET', SEARCH_LEASE) ~= lease then return 0 end
return redis.call('DEL', SEARCH_LEASE)
