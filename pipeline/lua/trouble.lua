-- What the vendor said about the account as a whole.
-- KEYS: prefix. ARGV: 'window', allowed runs (0: not said) | 'backoff', first wait (ms), longest wait (ms), reason
-- | 'pause', reason | 'well'.
local key = P .. 'account'
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
elseif ARGV[1] == 'pause' then
  redis.call('HSETNX', key, 'paused', ARGV[2])
elseif redis.call('HEXISTS', key, 'backoff_tries') == 1 then
  redis.call('HDEL', key, 'backoff_until', 'backoff_tries', 'trouble')
end
return 1
