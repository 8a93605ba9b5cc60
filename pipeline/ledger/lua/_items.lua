-- Items and their runs. LEGAL_TRANSITIONS (from -> {to = true}) and FIRST_SEARCH_MS come from constants.py.

-- Count the reviewed items of a batch that have not succeeded. Reviews from before this counter are not in it.
local function count_early_reviews(batch, number)
  local key = batch_key(batch)
  if redis.call('HINCRBY', key, 'marked_early', number) < 0 then redis.call('HSET', key, 'marked_early', 0) end
end

-- Add `number` to the reviews of a batch that have the mark of `review` (JSON). One that cannot be read was not counted.
local function count_review(batch, item, review, number)
  local is_read, document = pcall(cjson.decode, review)
  if not is_read or type(document) ~= 'table' or type(document.mark) ~= 'string' then return end
  redis.call('HINCRBY', batch_key(batch), 'marked:' .. document.mark, number)
  if redis.call('HGET', item_key(batch, item), 'state') ~= 'succeeded' then count_early_reviews(batch, number) end
end

-- Record that an item is another take of `original`: its first take lists all takes. An unknown `original` is ignored.
local function link_take(batch, item, original)
  if original == item or redis.call('HEXISTS', specs_key(batch), original) == 0 then return end
  local first = redis.call('HGET', item_key(batch, original), 'first') or original
  local takes = redis.call('HGET', item_key(batch, first), 'takes')
  redis.call('HSET', item_key(batch, first), 'takes', takes and takes .. ' ' .. item or item)
  redis.call('HSET', item_key(batch, item), 'first', first)
  redis.call('HINCRBY', batch_key(batch), 'takes', 1)
end

-- Change the state of an item and the counts of its batch. No other function changes a state.
local function change_state(batch, item, from, to)
  if not (LEGAL_TRANSITIONS[from] and LEGAL_TRANSITIONS[from][to]) then
    error('illegal transition ' .. from .. ' -> ' .. to)
  end
  redis.call('HSET', item_key(batch, item), 'state', to)
  redis.call('HINCRBY', batch_key(batch), 'n:' .. from, -1)
  redis.call('HINCRBY', batch_key(batch), 'n:' .. to, 1)
  if to == 'unknown' then
    redis.call('SADD', LOST, member_of(batch, item))
  elseif from == 'unknown' then
    redis.call('SREM', LOST, member_of(batch, item))
    redis.call('ZREM', SEARCH, member_of(batch, item))
  end
  if to == 'succeeded' and redis.call('HEXISTS', reviews_key(batch), item) == 1 then
    count_early_reviews(batch, -1)
  end
end

-- Make an item pending; its next attempt is due in `delay` ms.
local function queue_item(batch, item, delay)
  redis.call('ZADD', pending_key(batch), now_ms() + delay, item)
  redis.call('ZADD', FAIRNESS_QUEUE, 'NX', 0, batch)
end

-- Count a batch's item as open again if it had an outcome. The batch keeps the reason why it was stopped.
local function reopen_ended_item(batch, item)
  if redis.call('HDEL', outcomes_key(batch), item) == 0 then return end
  redis.call('HINCRBY', batch_key(batch), 'open', 1)
  reopen_batch(batch, redis.call('HGET', batch_key(batch), 'reason'))
end

-- Make an item pending again whose run was never posted. The attempt does not count against the limit.
local function return_unposted(batch, item, from)
  redis.call('HINCRBY', item_key(batch, item), 'tries', -1)
  change_state(batch, item, from, 'pending')
  release_slot(batch, item)
  queue_item(batch, item, 0)
end

-- Return whether the caller holds the item: same state, same attempt, same lease.
local function holds_lease(batch, item, state, attempt, lease)
  local held_state, held_attempt, held_lease = read_fields(item_key(batch, item), 'state', 'attempt', 'lease')
  return held_state == state and held_attempt == attempt and held_lease == lease
end

-- Make a run unknown whose response was lost: wait for its callback, and search for its task, until `adopt_until`. If a
-- callback has named its task already, it is due at once.
local function mark_run_unknown(batch, item, now, adopt_until)
  local key, member = item_key(batch, item), member_of(batch, item)
  change_state(batch, item, 'submitting', 'unknown')
  redis.call('HDEL', key, 'lease')
  redis.call('HSET', key, 'search_until', adopt_until)
  redis.call('ZADD', ADOPT, adopt_until, member)
  redis.call('ZADD', SEARCH, now + FIRST_SEARCH_MS, member)
  if redis.call('HEXISTS', key, 'hint_task') == 1 then redis.call('ZADD', DUE, now, member) end
end

-- Add `number` to the failed items that have the cause of `outcome` (JSON). A batch counts a limited number of causes.
local MAX_CAUSES = 100
local function count_cause(batch, outcome, number)
  local key = causes_key(batch)
  local is_read, document = pcall(cjson.decode, outcome)
  local cause = is_read and type(document) == 'table' and document.cause
  if type(cause) ~= 'string' then return end
  if redis.call('HEXISTS', key, cause) == 0 and (number < 0 or redis.call('HLEN', key) >= MAX_CAUSES) then return end
  if redis.call('HINCRBY', key, cause, number) <= 0 then redis.call('HDEL', key, cause) end
end

-- End an item with `outcome` (JSON). Returns how many items of the batch are still open.
local function end_item(batch, item, from, to, outcome)
  local member = member_of(batch, item)
  change_state(batch, item, from, to)
  release_slot(batch, item)
  redis.call('ZREM', DUE, member)
  redis.call('ZREM', LEASES, member)
  redis.call('ZREM', ADOPT, member)
  redis.call('HDEL', item_key(batch, item), 'lease', 'rung')
  redis.call('HSET', outcomes_key(batch), item, outcome)
  if to == 'failed' then count_cause(batch, outcome, 1) end
  count('ended:' .. to)
  count_in_timeline(batch, to)
  return redis.call('HINCRBY', batch_key(batch), 'open', -1)
end

-- Retry an item that has ended in one of `states` ({state = true}). If its run is paid, only the copy is repeated;
-- otherwise it waits for a new run. Returns whether it is retried.
local function retry_item(batch, item, states)
  local key = item_key(batch, item)
  local state, paid = read_fields(key, 'state', 'paid')
  local outcome = redis.call('HGET', outcomes_key(batch), item)
  if not state or not states[state] or not outcome then return false end
  redis.call('HDEL', outcomes_key(batch), item)
  if state == 'failed' then count_cause(batch, outcome, -1) end
  -- A person accepts that the lost run may be billed, too.
  release_reservation(batch, item)
  redis.call('HDEL', key, 'lease', 'rung', 'looks', 'faults', 'copies', 'refusals')
  redis.call('HINCRBY', batch_key(batch), 'open', 1)
  if paid and state == 'failed' then
    change_state(batch, item, state, 'collecting')
    redis.call('ZADD', DUE, now_ms(), member_of(batch, item))
  else
    redis.call('HINCRBY', key, 'before', redis.call('HGET', key, 'tries') or 0)
    redis.call('HSET', key, 'tries', 0)
    change_state(batch, item, state, 'pending')
    queue_item(batch, item, 0)
  end
  return true
end
