-- Renews leases that are still held.
-- KEYS: prefix. ARGV: lease (ms), then batch, item, lease token of each.
-- Answers how many were.
local now, renewed = now_ms(), 0
for i = 2, #ARGV, 3 do
  local batch, item = ARGV[i], ARGV[i + 1]
  local f = redis.call('HMGET', item_key(batch, item), 'lease', 'state')
  if f[1] == ARGV[i + 2] then
    redis.call('ZADD', P .. (f[2] == 'submitting' and 'leases' or 'due'), 'XX', now + ARGV[1], member(batch, item))
    renewed = renewed + 1
  end
end
return renewed
