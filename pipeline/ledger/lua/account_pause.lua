-- Stops all submissions. With probes, a single run tries from time to time whether they may go on.
-- ARGV: reason, ms until the first probe (0: only a person ends the pause).
-- Returns 1.
local reason, first_probe_wait = ARGV[1], tonumber(ARGV[2])
local MAX_PROBE_WAIT_MS = 600000

local function schedule_probe(wait)
  redis.call('HSET', ACCOUNT, 'paused', reason, 'probe_wait', wait, 'probe_at', now_ms() + wait)
end

redis.call('HDEL', ACCOUNT, 'accepted_at')
local paused, probing, probe_wait = read_fields(ACCOUNT, 'paused', 'probing', 'probe_wait')
if first_probe_wait == 0 then
  redis.call('HSET', ACCOUNT, 'paused', reason)
  redis.call('HDEL', ACCOUNT, 'probe_at', 'probe_wait', 'probing')
elseif not paused then
  schedule_probe(first_probe_wait)
elseif probing then
  -- The probe failed.
  redis.call('HDEL', ACCOUNT, 'probing')
  schedule_probe(math.min(probe_wait * 2, MAX_PROBE_WAIT_MS))
end
return 1
