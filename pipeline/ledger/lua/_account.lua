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

-- Return what is reserved for active runs, and whether one of them has no reservation: its price is unknown. The runs are
-- counted each time, because a sum that each release must update would drift when versions run side by side.
local function active_reservations()
  local sum, is_any_unpriced = 0, false
  for _, member in ipairs(redis.call('SMEMBERS', ACTIVE)) do
    local batch, item = parse_member(member)
    -- The sweep sets aside what cannot be read: until then its price is unknown.
    local text = batch and redis.pcall('HGET', item_key(batch, item), 'reserved') or '0'
    local reserved = batch and (type(text) == 'string' and tonumber(text) or 0)
    sum = sum + (reserved or 0)
    is_any_unpriced = is_any_unpriced or reserved == 0
  end
  return sum, is_any_unpriced
end

-- Return the ceiling of the UTC day, `max_day` (pico-USD, 0: none), as two functions.
-- allows(price): return whether a run of this price may start, and count it. One run at a time has an unknown price, 0.
-- record_wait(): store until when runs wait for the ceiling; return the ms until then, -1 if none does.
local function read_day(now, max_day)
  local day = math.floor(now / MS_PER_DAY)
  local left, is_any_unpriced, is_waiting
  -- Here, and not in `allows`: if it cannot be read, no batch is the reason.
  local spent = max_day > 0 and tonumber(redis.call('HGET', SPEND, day) or 0) or 0
  local limit = string.format('%.0f', max_day)
  if (redis.call('HGET', ACCOUNT, 'day_limit') or '0') ~= limit then redis.call('HSET', ACCOUNT, 'day_limit', limit) end

  local function allows(price)
    if max_day == 0 then return true end
    if not left then
      -- Only if a run may start, because every active run is read.
      local reserved
      reserved, is_any_unpriced = active_reservations()
      left = max_day - spent - reserved
    end
    if left <= 0 or price > left then
      is_waiting = true
      return false
    end
    if price == 0 and is_any_unpriced then return false end
    left, is_any_unpriced = left - price, is_any_unpriced or price == 0
    return true
  end

  local function record_wait()
    local midnight = (day + 1) * MS_PER_DAY
    if is_waiting then
      redis.call('HSET', ACCOUNT, 'day_wait', midnight)
    else
      redis.call('HDEL', ACCOUNT, 'day_wait')
    end
    return is_waiting and midnight - now or -1
  end

  return {allows = allows, record_wait = record_wait}
end
