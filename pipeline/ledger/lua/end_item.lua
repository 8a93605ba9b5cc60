-- Ends an item that the caller holds.
-- ARGV: batch, item, from state, attempt, lease, to state, outcome (JSON), charge of a run that did not succeed (pico-USD),
-- warning if it is far above the price, else ''.
-- Returns {open items of the batch, 1 if more items have failed than it tolerates, else 0, cost of the run that succeeded
-- (USD text)}; {-1, 0, '0'} if the caller does not hold the item.
local batch, item, from, attempt, lease, to, outcome, charge, overcharge = unpack(ARGV)
if not holds_lease(batch, item, from, attempt, lease) then return {-1, 0, '0'} end
add_lost_charge(batch, item, charge, overcharge)
local open_items = end_item(batch, item, from, to, outcome)
if to == 'succeeded' then
  record_bought(batch, item)
  if count_reused(batch, item) then count('reused') end
end
local key = item_key(batch, item)
local paid_at, posted, paid = read_fields(key, 'paid_at', 'posted', 'paid')
if paid_at then
  -- The copy of a retried item is not measured again.
  redis.call('HDEL', key, 'paid_at')
  if to == 'succeeded' then
    local now = now_ms()
    observe_duration('copy', now - paid_at)
    observe_duration('whole', now - (posted or now))
  end
end
local failed, tolerated, status = read_fields(batch_key(batch), 'n:failed', 'tolerated', 'status')
local is_too_many = to == 'failed' and status == 'running' and tolerated and tonumber(failed) > tonumber(tolerated)
return {open_items, is_too_many and 1 or 0, paid or '0'}
