-- The item has ended, under the caller's lease.
-- KEYS: prefix. ARGV: batch, item, from state, attempt, lease, to state, outcome (JSON).
-- Answers {open items of the batch, 1 when it has failed more than it tolerates, what its run cost (USD text)};
-- {-1, 0, '0'} when the item is no longer the caller's.
local batch, item = ARGV[1], ARGV[2]
if not holds(batch, item, ARGV[3], ARGV[4], ARGV[5]) then return {-1, 0, '0'} end
local open = end_item(batch, item, ARGV[3], ARGV[6], ARGV[7])
local times = redis.call('HMGET', item_key(batch, item), 'paid_at', 'posted')
if times[1] then
  -- How long the copy of an item that was reopened took says nothing: it is only timed once.
  redis.call('HDEL', item_key(batch, item), 'paid_at')
  if ARGV[6] == 'succeeded' then
    local now = now_ms()
    took('copy', now - times[1])
    took('whole', now - (times[2] or now))
  end
end
local f = redis.call('HMGET', batch_key(batch), 'n:failed', 'tolerated', 'status')
local too_many = ARGV[6] == 'failed' and f[3] == 'running' and f[2] and tonumber(f[1]) > tonumber(f[2])
return {open, too_many and 1 or 0, redis.call('HGET', item_key(batch, item), 'paid') or '0'}
