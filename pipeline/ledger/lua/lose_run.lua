-- The answer to a run was lost: submitting -> unknown. A callback that has come already is heard at once.
-- KEYS: prefix. ARGV: batch, item, attempt, lease, ms to wait for a callback.
-- Answers 1; 0 when the item is no longer the caller's.
local batch, item = ARGV[1], ARGV[2]
if not holds(batch, item, 'submitting', ARGV[3], ARGV[4]) then return 0 end
local key = item_key(batch, item)
move(batch, item, 'submitting', 'unknown')
redis.call('HDEL', key, 'lease')
redis.call('ZREM', P .. 'leases', member(batch, item))
redis.call('ZADD', P .. 'adopt', now_ms() + ARGV[5], member(batch, item))
if redis.call('HEXISTS', key, 'hint_task') == 1 then
  redis.call('ZADD', P .. 'due', now_ms(), member(batch, item))
end
return 1
