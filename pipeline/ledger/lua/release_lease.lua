-- Releases an item: its state stays and it is due again after a delay, or at once if a callback came meanwhile.
-- ARGV: batch, item, state, attempt, lease, delay (ms), failure to count ('looks': no such task | 'faults': no usable response |
-- 'copies' | '': none).
-- Returns 1; 0 if the caller does not hold the item.
local batch, item, state, attempt, lease, delay, failure = unpack(ARGV)
if not holds_lease(batch, item, state, attempt, lease) then return 0 end
local key, member = item_key(batch, item), member_of(batch, item)
local callback_deferred = redis.call('HGET', key, 'rung')
redis.call('HDEL', key, 'lease', 'rung')
if failure ~= '' then
  redis.call('HINCRBY', key, failure, 1)
else
  redis.call('HDEL', key, 'looks', 'faults')
end
if state == 'unknown' and delay == '0' then
  -- The task that the callback named is not of this run: there is nothing to poll.
  redis.call('HDEL', key, 'hint_task', 'hint_token', 'hint_by')
  redis.call('ZREM', DUE, member)
else
  redis.call('ZADD', DUE, now_ms() + (callback_deferred and 0 or delay), member)
end
return 1
