-- The run succeeded and is billed: running -> collecting. Its place is free, its cost is on the batch and the day, once.
-- The window grows by one for every window-full of runs that end well; good answers end the back-off.
-- KEYS: prefix. ARGV: batch, item, attempt, lease, cost (pico-USD), cost (USD text).
-- Answers 1; 2 when something waits for the place; 0 when the item is no longer the caller's.
local batch, item = ARGV[1], ARGV[2]
if not holds(batch, item, 'running', ARGV[3], ARGV[4]) then return 0 end
move(batch, item, 'running', 'collecting')
free_place(batch, item)
local now = now_ms()
took('vendor', now - (redis.call('HGET', item_key(batch, item), 'posted') or now))
redis.call('HSET', item_key(batch, item), 'paid', ARGV[6], 'paid_at', now)
redis.call('HINCRBY', batch_key(batch), 'cost', ARGV[5])
redis.call('HINCRBY', P .. 'spend', math.floor(now / 86400000), ARGV[5])
local price = tonumber(redis.call('HGET', batch_key(batch), 'price') or 0)
if tonumber(ARGV[5]) > price then redis.call('HSET', batch_key(batch), 'price', ARGV[5]) end
local window = redis.call('HGET', P .. 'account', 'window')
if window then redis.call('HSET', P .. 'account', 'window', tonumber(window) + 1 / tonumber(window)) end
return redis.call('EXISTS', P .. 'turn') + 1
