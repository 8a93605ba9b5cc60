-- What the vendor said about the account as a whole.
-- KEYS: prefix. ARGV: 'window', allowed runs (0: not said) | 'backoff', first wait (ms), longest wait (ms), reason
-- | 'pause', reason, ms until the first probe (0: by hand, no probe).
local key = P .. 'account'
local LONGEST_PROBE_MS = 600000
if ARGV[1] == 'window' then
  local allowed = tonumber(ARGV[2])
  if allowed == 0 then allowed = math.max(1, redis.call('SCARD', P .. 'active') - 1) end
  redis.call('HSET', key, 'window', allowed)
elseif ARGV[1] == 'backoff' then
  local now = now_ms()
  local f = redis.call('HMGET', key, 'backoff_until', 'backoff_tries')
  -- Runs in the air together are refused together: that is one trouble, not thirty.
  if f[1] and tonumber(f[1]) > now then return 0 end
  local tries = tonumber(f[2] or 0)
  local wait = math.min(tonumber(ARGV[2]) * 2 ^ math.min(tries, 16), tonumber(ARGV[3]))
  redis.call('HSET', key, 'backoff_until', math.floor(now + wait), 'backoff_tries', tries + 1, 'trouble', ARGV[4])
else
  local f = redis.call('HMGET', key, 'paused', 'probing', 'probe_wait')
  if ARGV[3] == '0' then
    redis.call('HSET', key, 'paused', ARGV[2])
    redis.call('HDEL', key, 'probe_at', 'probe_wait', 'probing')
  elseif not f[1] then
    redis.call('HSET', key, 'paused', ARGV[2], 'probe_wait', ARGV[3], 'probe_at', now_ms() + ARGV[3])
  elseif f[2] then
    -- The probe has failed: the next one later.
    redis.call('HDEL', key, 'probing')
    local wait = math.min(f[3] * 2, LONGEST_PROBE_MS)
    redis.call('HSET', key, 'paused', ARGV[2], 'probe_wait', wait, 'probe_at', now_ms() + wait)
  end
end
return 1
