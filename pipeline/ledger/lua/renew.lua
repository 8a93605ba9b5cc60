-- Renews leases that are still held.
-- KEYS: prefix. ARGV: lease (ms), then batch, item, lease token of each.
-- Answers 1 or 0 for each: whether it is still held.
local now, held = now_ms(), {}
for i = 2, #ARGV, 3 do
  local batch, item = ARGV[i], ARGV[i + 1]
  local f = redis.call('HMGET', item_key(batch, item), 'lease', 'state')
  if f[1] == ARGV[i + 2] then
    redis.call('ZADD', P .. (f[2] == 'submitting' and 'leases' or 'due'), 'XX', now + ARGV[1], member(batch, item))
    held[#held + 1] = 1
  else
    held[#held + 1] = 0
  end
end
return held
