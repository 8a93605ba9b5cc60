-- The account at the vendor and its slots, which all batches share.

-- Reserve the price of a run from the budget of its batch. Repeating it is harmless.
local function reserve(batch, item)
  if redis.call('HEXISTS', item_key(batch, item), 'reserved') == 1 then return end
  local price = price_to_reserve(batch, item)
  local reserved = tonumber(redis.call('HGET', batch_key(batch), 'reserved') or 0)
  -- Only runs without a budget can exceed what Redis counts: nothing needs their reservations.
  if reserved + tonumber(price) > tonumber(MAX_PICO) then price = '0' end
  redis.call('HSET', item_key(batch, item), 'reserved', price)
  redis.call('HINCRBY', batch_key(batch), 'reserved', price)
end

-- Return the reservation of a run to the budget of its batch. Repeating it is harmless.
local function release_reservation(batch, item)
  local reserved = redis.call('HGET', item_key(batch, item), 'reserved')
  if not reserved then return end
  redis.call('HDEL', item_key(batch, item), 'reserved')
  redis.call('HINCRBY', batch_key(batch), 'reserved', reserved == '0' and '0' or '-' .. reserved)
end

-- Take a slot of the account for a run and reserve its price. Repeating it is harmless.
local function acquire_slot(batch, item)
  if redis.call('SADD', ACTIVE, member_of(batch, item)) == 1 then
    redis.call('HINCRBY', batch_key(batch), 'active', 1)
  end
  reserve(batch, item)
end

-- Return the slot of a run that may still be billed: it keeps its reservation. Repeating it is harmless.
local function leave_slot(batch, item)
  if redis.call('SREM', ACTIVE, member_of(batch, item)) == 1 then
    redis.call('HINCRBY', batch_key(batch), 'active', -1)
  end
end

-- Return the slot and the reservation of a run. Repeating it is harmless.
local function release_slot(batch, item)
  leave_slot(batch, item)
  release_reservation(batch, item)
end

-- Return whether the account has accepted a run lately. If it has not, few runs are posted at a time.
local function is_proven(accepted_at, now)
  local PROVEN_MS = 600000
  return accepted_at and now - accepted_at < PROVEN_MS
end

-- Record that the account accepted a run: a backoff ends, and a pause that has probes. A pause without probes stays: only
-- a person ends it. Returns whether more runs may be posted than before.
local function prove_account(now)
  local accepted_at, backoff_attempts, probe_at = read_fields(ACCOUNT, 'accepted_at', 'backoff_tries', 'probe_at')
  redis.call('HSET', ACCOUNT, 'accepted_at', now)
  if backoff_attempts then redis.call('HDEL', ACCOUNT, 'backoff_until', 'backoff_tries', 'trouble') end
  if probe_at then redis.call('HDEL', ACCOUNT, 'paused', 'probe_at', 'probe_wait', 'probing') end
  return backoff_attempts or probe_at or not is_proven(accepted_at, now)
end
