-- Adds items to a batch as S3 records them, in order. An item that exists stays as it is.
-- ARGV: batch, ms to wait for the callback of an unknown run, then for each item: id, spec (JSON), state, attempt,
-- task id, task token, cost (USD text, '' for none), cost (pico-USD), outcome (JSON, '' if it has not ended).
-- Returns how many were new.
local batch, adopt_wait = ARGV[1], ARGV[2]
local key, now = batch_key(batch), now_ms()

-- Put an item that has not ended into the queue of its state.
local function enqueue(item)
  local member = member_of(batch, item.id)
  redis.call('HINCRBY', key, 'open', 1)
  if item.state == 'pending' then
    queue_item(batch, item.id, 0)
  elseif item.state == 'unknown' then
    redis.call('ZADD', ADOPT, now + adopt_wait, member)
  else
    redis.call('ZADD', DUE, now, member)
  end
  if item.state == 'unknown' or item.state == 'running' then acquire_slot(batch, item.id) end
end

local function restore(item)
  redis.call('RPUSH', order_key(batch), item.id)
  redis.call('HINCRBY', key, 'n:' .. item.state, 1)
  redis.call('HINCRBY', key, 'total', 1)
  redis.call('HSET', item_key(batch, item.id), 'state', item.state, 'attempt', item.attempt, 'tries', item.attempt,
             'task', item.task, 'token', item.token, 'posted', now)
  if item.cost_text ~= '' then
    redis.call('HSET', item_key(batch, item.id), 'paid', item.cost_text)
    redis.call('HINCRBY', key, 'cost', item.cost)
  end
  if item.outcome ~= '' then
    redis.call('HSET', outcomes_key(batch), item.id, item.outcome)
  else
    enqueue(item)
  end
end

local added = 0
local items = argv_rows(3, 'id', 'spec', 'state', 'attempt', 'task', 'token', 'cost_text', 'cost', 'outcome')
for _, item in ipairs(items) do
  if redis.call('HSETNX', specs_key(batch), item.id, item.spec) == 1 then
    restore(item)
    added = added + 1
  end
end
return added
