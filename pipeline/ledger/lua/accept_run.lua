-- The vendor has taken the run: submitting -> running, or unknown -> running when a callback brought it back.
-- An account in trouble is well again.
-- KEYS: prefix. ARGV: batch, item, attempt, lease, task id, task token, ms until it is first looked at.
-- An item that had been given up as unknown is open again; its batch keeps the reason why it was stopped.
-- Answers 1; 0 when the item is no longer the caller's.
local batch, item, attempt, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = item_key(batch, item)
local f = redis.call('HMGET', key, 'state', 'attempt', 'lease', 'rung')
if f[2] ~= attempt or f[3] ~= lease or (f[1] ~= 'submitting' and f[1] ~= 'unknown') then return 0 end
move(batch, item, f[1], 'running')
lived(batch, 'started')
redis.call('HSET', key, 'task', ARGV[5], 'token', ARGV[6])
redis.call('HDEL', key, 'lease', 'rung', 'hint_task', 'hint_token')
redis.call('ZREM', P .. 'leases', member(batch, item))
redis.call('ZREM', P .. 'adopt', member(batch, item))
-- In a batch that is being cancelled it is looked at at once, so that the vendor is told.
local hurry = f[4] or redis.call('HGET', batch_key(batch), 'status') == 'cancelling'
redis.call('ZADD', P .. 'due', now_ms() + (hurry and 0 or ARGV[7]), member(batch, item))
if redis.call('HDEL', P .. 'batch:' .. batch .. ':ended', item) == 1 then
  redis.call('HINCRBY', batch_key(batch), 'open', 1)
  reopen_batch(batch, redis.call('HGET', batch_key(batch), 'reason'))
end
take_place(batch, item)
all_well()
return 1
