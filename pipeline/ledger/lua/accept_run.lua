-- Records that the vendor accepted a run: submitting -> running, or unknown -> running if its task was found. An item that
-- ended as unknown is open again. The backoff of the account ends.
-- ARGV: batch, item, attempt, lease, task id, task token, ms until the first poll.
-- Returns 1; 2 if more runs may be posted now than before; 0 if the caller does not hold the item.
local batch, item, attempt, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local task, token, poll_delay = ARGV[5], ARGV[6], ARGV[7]
local key, member = item_key(batch, item), member_of(batch, item)
local state, held_attempt, held_lease, callback_deferred, found_by =
  read_fields(key, 'state', 'attempt', 'lease', 'rung', 'hint_by')
local now = now_ms()
if held_attempt ~= attempt or held_lease ~= lease or (state ~= 'submitting' and state ~= 'unknown') then return 0 end
change_state(batch, item, state, 'running')
count_in_timeline(batch, 'started')
redis.call('HSET', key, 'task', task, 'token', token)
redis.call('HDEL', key, 'lease', 'rung', 'hint_task', 'hint_token', 'hint_by')
redis.call('ZADD', TASKS, now, task ~= '' and task or token)
if state == 'unknown' and found_by and found_by ~= '' then
  redis.call('HSET', key, 'found_by', found_by)
  redis.call('HINCRBY', batch_key(batch), 'found:' .. found_by, 1)
  count('found:' .. found_by)
end
redis.call('ZREM', LEASES, member)
redis.call('ZREM', ADOPT, member)
-- A run of a batch that is being cancelled is due at once, so that it is cancelled at the vendor, too.
if callback_deferred or redis.call('HGET', batch_key(batch), 'status') == 'cancelling' then poll_delay = 0 end
redis.call('ZADD', DUE, now + poll_delay, member)
reopen_ended_item(batch, item)
acquire_slot(batch, item)
return prove_account(now) and 2 or 1
