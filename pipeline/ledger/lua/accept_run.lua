-- Records that the vendor accepted a run: submitting -> running, or unknown -> running if a callback named its task.
-- An item that ended as unknown is open again. The backoff of the account ends.
-- ARGV: batch, item, attempt, lease, task id, task token, ms until the first poll.
-- Returns 1; 0 if the caller does not hold the item.
local batch, item, attempt, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local task, token, poll_delay = ARGV[5], ARGV[6], ARGV[7]
local key, member = item_key(batch, item), member_of(batch, item)
local state, held_attempt, held_lease, callback_deferred = read_fields(key, 'state', 'attempt', 'lease', 'rung')
if held_attempt ~= attempt or held_lease ~= lease or (state ~= 'submitting' and state ~= 'unknown') then return 0 end
change_state(batch, item, state, 'running')
count_in_timeline(batch, 'started')
redis.call('HSET', key, 'task', task, 'token', token)
redis.call('HDEL', key, 'lease', 'rung', 'hint_task', 'hint_token')
redis.call('ZREM', LEASES, member)
redis.call('ZREM', ADOPT, member)
-- A run of a batch that is being cancelled is due at once, so that it is cancelled at the vendor, too.
if callback_deferred or redis.call('HGET', batch_key(batch), 'status') == 'cancelling' then poll_delay = 0 end
redis.call('ZADD', DUE, now_ms() + poll_delay, member)
reopen_ended_item(batch, item)
acquire_slot(batch, item)
clear_backoff()
return 1
