-- The account at the vendor and its slots, which all batches share.

-- Take a slot of the account for a run and reserve its price from the budget of its batch. Repeating it is harmless.
local function acquire_slot(batch, item)
  if redis.call('SADD', ACTIVE, member_of(batch, item)) == 0 then return end
  local price = redis.call('HGET', batch_key(batch), 'price') or '0'
  redis.call('HSET', item_key(batch, item), 'reserved', price)
  redis.call('HINCRBY', batch_key(batch), 'reserved', price)
  redis.call('HINCRBY', batch_key(batch), 'active', 1)
end

-- Return the slot and the reservation of a run. Repeating it is harmless.
local function release_slot(batch, item)
  if redis.call('SREM', ACTIVE, member_of(batch, item)) == 0 then return end
  local reserved = redis.call('HGET', item_key(batch, item), 'reserved') or '0'
  redis.call('HDEL', item_key(batch, item), 'reserved')
  redis.call('HINCRBY', batch_key(batch), 'reserved', reserved == '0' and '0' or '-' .. reserved)
  redis.call('HINCRBY', batch_key(batch), 'active', -1)
end

-- End a backoff, and a pause that has probes. A pause without probes stays: only a person ends it.
local function clear_backoff()
  local backoff_attempts, probe_at = read_fields(ACCOUNT, 'backoff_tries', 'probe_at')
  if backoff_attempts then redis.call('HDEL', ACCOUNT, 'backoff_until', 'backoff_tries', 'trouble') end
  if probe_at then redis.call('HDEL', ACCOUNT, 'paused', 'probe_at', 'probe_wait', 'probing') end
end
