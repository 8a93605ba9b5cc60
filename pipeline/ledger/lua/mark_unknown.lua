-- Makes a run unknown whose response was lost.
-- ARGV: batch, item, attempt, lease, ms to wait for a callback.
-- Returns 1; 0 if the caller does not hold the item.
local batch, item, attempt, lease, adopt_wait = unpack(ARGV)
if not holds_lease(batch, item, 'submitting', attempt, lease) then return 0 end
local now = now_ms()
mark_run_unknown(batch, item, now, now + adopt_wait)
redis.call('ZREM', LEASES, member_of(batch, item))
return 1
