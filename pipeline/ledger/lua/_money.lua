-- Money in pico-USD. Amounts are texts, because Lua's numbers are exact only up to 9,007 USD. MAX_PICO (text, the largest
-- amount) comes from constants.py.
local MS_PER_DAY = 86400000

-- Add an amount to a sum. A sum stops at MAX_PICO: beyond it HINCRBY would fail in the middle of a script.
local function add_money(key, field, amount)
  local sum = tonumber(redis.call('HGET', key, field) or 0) + tonumber(amount)
  if sum > tonumber(MAX_PICO) then
    redis.call('HSET', key, field, MAX_PICO)
  else
    redis.call('HINCRBY', key, field, amount)
  end
end

-- Return the expected price of a run of an item: its own, else that of its batch; '0' if it is not known.
local function expected_price(batch, item)
  return redis.call('HGET', prices_key(batch), item) or redis.call('HGET', batch_key(batch), 'price') or '0'
end

-- Store the price of a run of an item, and the highest one of its batch.
local function set_price(batch, item, price)
  redis.call('HSET', prices_key(batch), item, price)
  local highest = redis.call('HGET', batch_key(batch), 'price_max')
  if tonumber(price) > tonumber(highest or 0) then redis.call('HSET', batch_key(batch), 'price_max', price) end
end

-- Return what to reserve for a run of an item. The vendor has charged up to `overrun` more than the own price of items.
local function price_to_reserve(batch, item)
  local own_price, overrun = redis.call('HGET', prices_key(batch), item), redis.call('HGET', batch_key(batch), 'overrun')
  if not own_price or not overrun then return expected_price(batch, item) end
  return string.format('%.0f', math.min(tonumber(own_price) + tonumber(overrun), tonumber(MAX_PICO)))
end

-- Expect from now on what the vendor charges, if that is more than expected.
local function raise_price(batch, item, cost)
  local key, own_price = batch_key(batch), redis.call('HGET', prices_key(batch), item)
  local price, overrun = read_fields(key, 'price', 'overrun')
  if own_price then
    local excess = tonumber(cost) - tonumber(own_price)
    if excess > tonumber(overrun or 0) then redis.call('HSET', key, 'overrun', string.format('%.0f', excess)) end
  elseif tonumber(cost) > tonumber(price or 0) then
    redis.call('HSET', key, 'price', cost)
  end
end

-- Add a charge to the day.
local function add_spend(cost)
  add_money(SPEND, math.floor(now_ms() / MS_PER_DAY), cost)
end

-- Add the charge of a run to its batch and to the day. `overcharge`: a warning if it is far above the price, else ''.
-- A batch with a budget is then paused.
local function add_charge(batch, item, cost, overcharge)
  local key = batch_key(batch)
  if cost ~= '0' then
    add_money(key, 'cost', cost)
    add_spend(cost)
    raise_price(batch, item, cost)
  end
  if overcharge == '' then return end
  count('overcharged')
  redis.call('HSET', key, 'overcharge', overcharge)
  local status, budget = read_fields(key, 'status', 'budget')
  if budget and status == 'running' then redis.call('HSET', key, 'status', 'paused', 'reason', overcharge) end
end

-- Add the charge of a run that did not succeed, also to its item.
local function add_lost_charge(batch, item, cost, overcharge)
  if cost ~= '0' then add_money(item_key(batch, item), 'charged', cost) end
  add_charge(batch, item, cost, overcharge)
end
