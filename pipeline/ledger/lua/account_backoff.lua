-- Stops submissions for a while; the wait doubles with each backoff in a row.
-- ARGV: first wait (ms), longest wait (ms), reason.
-- Returns 1; 0 if a backoff lasts already: runs that are refused together count as one refusal.
local first_wait, max_wait, reason = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local MAX_DOUBLINGS = 16
local now = now_ms()
local backoff_until, backoff_attempts = read_fields(ACCOUNT, 'backoff_until', 'backoff_tries')
if backoff_until and tonumber(backoff_until) > now then return 0 end
local attempts = tonumber(backoff_attempts or 0)
local wait = math.min(first_wait * 2 ^ math.min(attempts, MAX_DOUBLINGS), max_wait)
redis.call('HSET', ACCOUNT, 'backoff_until', math.floor(now + wait), 'backoff_tries', attempts + 1, 'trouble', reason)
return 1
