-- Adds items to a batch as S3 records them, in order. An item that exists stays as it is.
-- ARGV: batch, ms to wait for the callback of an unknown run, then for each item: id, spec (JSON), state, number
-- of the latest run, attempts spent, task id, task token, cost of the run that succeeded (USD text, '' for none), the same
-- in pico-USD, charges of other runs (pico-USD), how a lost run was found ('' if it was not), price of a run (pico-USD, ''
-- for the price of the batch), digest of the run ('' if it is not known), "batch/item" whose outputs it reuses ('' for a run
-- of its own), the outcome of that item (JSON, '' if they are copied), review (JSON, '' if there is none), outcome (JSON, ''
-- if it has not ended).
-- Returns how many were new.
local batch, adopt_wait = ARGV[1], ARGV[2]
local key, now = batch_key(batch), now_ms()
-- An archived batch does not return to the index of outputs, nor its old tasks to those that the vendor must list.
local is_restoring = redis.call('HEXISTS', key, 'restoring') == 1

-- Put an item that has not ended into the queue of its state.
local function enqueue(item)
  local member = member_of(batch, item.id)
  redis.call('HINCRBY', key, 'open', 1)
  if item.state == 'pending' then
    queue_item(batch, item.id, 0)
  elseif item.state == 'unknown' then
    redis.call('HSET', item_key(batch, item.id), 'search_until', now + adopt_wait)
    redis.call('ZADD', ADOPT, now + adopt_wait, member)
    redis.call('ZADD', SEARCH, now + FIRST_SEARCH_MS, member)
    redis.call('SADD', LOST, member)
  else
    redis.call('ZADD', DUE, now, member)
  end
  if item.state == 'unknown' or item.state == 'running' then acquire_slot(batch, item.id) end
end

local function restore(item)
  redis.call('RPUSH', order_key(batch), item.id)
  redis.call('HINCRBY', key, 'n:' .. item.state, 1)
  redis.call('HINCRBY', key, 'total', 1)
  local take_of = item.spec:find('"take_of":"', 1, true) and cjson.decode(item.spec).take_of
  if type(take_of) == 'string' then link_take(batch, item.id, take_of) end
  redis.call('HSET', item_key(batch, item.id), 'state', item.state, 'attempt', item.attempt, 'tries', item.attempts,
             'task', item.task, 'token', item.token, 'posted', now)
  if item.cost_text ~= '' then redis.call('HSET', item_key(batch, item.id), 'paid', item.cost_text) end
  if item.charged ~= '0' then redis.call('HSET', item_key(batch, item.id), 'charged', item.charged) end
  if item.found_by ~= '' then redis.call('HSET', item_key(batch, item.id), 'found_by', item.found_by) end
  if item.key ~= '' then redis.call('HSET', item_key(batch, item.id), 'key', item.key) end
  if item.reused_from ~= '' then
    redis.call('HSET', item_key(batch, item.id), 'reused_from', item.reused_from, 'source', item.source)
    redis.call('HSET', reused_key(batch), item.reused_from, item.id)
  end
  if item.price ~= '' then set_price(batch, item.id, item.price) end
  if item.task ~= '' and item.reused_from == '' and not is_restoring then redis.call('ZADD', TASKS, now, item.task) end
  add_money(key, 'cost', item.cost)
  add_money(key, 'cost', item.charged)
  if item.review ~= '' then
    redis.call('HSET', reviews_key(batch), item.id, item.review)
    count_review(batch, item.id, item.review, 1)
  end
  if item.outcome ~= '' then
    redis.call('HSET', outcomes_key(batch), item.id, item.outcome)
    if item.state == 'failed' then count_cause(batch, item.outcome, 1) end
    if item.state == 'unknown' then reserve(batch, item.id) end
    if item.state == 'succeeded' then
      if not is_restoring then record_bought(batch, item.id) end
      count_reused(batch, item.id)
    end
  else
    enqueue(item)
  end
end

-- The batch was archived again or forgotten: this restoration is out of date.
if redis.call('HEXISTS', key, 'created') == 0 or redis.call('HEXISTS', key, 'archived') == 1 then return 0 end
local added = 0
local items = argv_rows(3, 'id', 'spec', 'state', 'attempt', 'attempts', 'task', 'token', 'cost_text', 'cost', 'charged',
                        'found_by', 'price', 'key', 'reused_from', 'source', 'review', 'outcome')
for _, item in ipairs(items) do
  if redis.call('HSETNX', specs_key(batch), item.id, item.spec) == 1 then
    restore(item)
    added = added + 1
  end
end
return added
