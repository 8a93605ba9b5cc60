-- Records that a run succeeded and is billed: running -> collecting. Its slot is free; its cost is added to the batch
-- and the day, once. A full window of successful runs raises the concurrency limit by one.
-- ARGV: batch, item, attempt, lease, cost (pico-USD), cost (USD text), warning if it is far above the price, else ''.
-- Returns 1; 2 if pending items wait for the slot; 0 if the caller does not hold the item.
local batch, item, attempt, lease, cost, cost_text, overcharge = unpack(ARGV)
if not holds_lease(batch, item, 'running', attempt, lease) then return 0 end
change_state(batch, item, 'running', 'collecting')
release_slot(batch, item)
local now = now_ms()
local posted = redis.call('HGET', item_key(batch, item), 'posted')
observe_duration('vendor', now - (posted or now))
if posted then observe_run_time(batch, now - posted) end
redis.call('HSET', item_key(batch, item), 'paid', cost_text, 'paid_at', now)
add_charge(batch, item, cost, overcharge)
local limit = tonumber(redis.call('HGET', ACCOUNT, 'window'))
if limit then redis.call('HSET', ACCOUNT, 'window', limit + 1 / limit) end
return redis.call('EXISTS', FAIRNESS_QUEUE) + 1
