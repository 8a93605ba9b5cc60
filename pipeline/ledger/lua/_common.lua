-- Shared by every script: it stands before each of them. KEYS[1] is the prefix of all keys.
-- Keys are derived from the prefix, so the ledger lives on one Redis, not on a cluster.
-- Times are milliseconds of the server's own clock: workers' clocks do not matter.
-- LEGAL (state -> {state = true}) is generated from pipeline/states.py, BOUNDS (ms) from pipeline/ledger_figures.py,
-- SLOTS and FIRST_STEP (ms) from pipeline/ledger_life.py; they stand before this file.
local P = KEYS[1]

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function batch_key(batch) return P .. 'batch:' .. batch end
local function item_key(batch, item) return P .. 'item:' .. batch .. ':' .. item end
local function member(batch, item) return batch .. ' ' .. item end

-- Counts something for the figures.
local function count(what) redis.call('HINCRBY', P .. 'figures', what, 1) end

-- Counts how long a step took.
local function took(step, ms)
  local bucket = 1
  while BOUNDS[bucket] and ms > BOUNDS[bucket] do bucket = bucket + 1 end
  count(step .. ':' .. bucket)
  redis.call('HINCRBY', P .. 'figures', step .. ':sum', ms)
end

-- Counts what happened in the life of a batch. Slices are made twice as long when the batch outlives them.
local function lived(batch, what)
  local key = batch_key(batch) .. ':life'
  local now = now_ms()
  local age = math.max(0, now - (redis.call('HGET', batch_key(batch), 'created') or now))
  local step = tonumber(redis.call('HGET', key, 'step') or FIRST_STEP)
  if age >= step * SLOTS then
    local before, fields = step, redis.call('HGETALL', key)
    while age >= step * SLOTS do step = step * 2 end
    redis.call('DEL', key)
    redis.call('HSET', key, 'step', step)
    for i = 1, #fields, 2 do
      local name, slice = fields[i]:match('^(%a+):(%d+)$')
      if name then redis.call('HINCRBY', key, name .. ':' .. math.floor(slice * before / step), fields[i + 1]) end
    end
  end
  redis.call('HINCRBY', key, what .. ':' .. math.floor(age / step), 1)
end

-- The only place where an item changes its state. The counts of its batch follow.
local function move(batch, item, from, to)
  if not (LEGAL[from] and LEGAL[from][to]) then
    error('illegal transition ' .. from .. ' -> ' .. to)
  end
  redis.call('HSET', item_key(batch, item), 'state', to)
  redis.call('HINCRBY', batch_key(batch), 'n:' .. from, -1)
  redis.call('HINCRBY', batch_key(batch), 'n:' .. to, 1)
end

-- A run takes a place in the account's window and reserves its price from the batch's budget.
local function take_place(batch, item)
  if redis.call('SADD', P .. 'active', member(batch, item)) == 1 then
    local price = redis.call('HGET', batch_key(batch), 'price') or '0'
    redis.call('HSET', item_key(batch, item), 'reserved', price)
    redis.call('HINCRBY', batch_key(batch), 'reserved', price)
    redis.call('HINCRBY', batch_key(batch), 'active', 1)
  end
end

-- The place and the reservation are given back, once.
local function free_place(batch, item)
  if redis.call('SREM', P .. 'active', member(batch, item)) == 1 then
    local key = item_key(batch, item)
    local reserved = redis.call('HGET', key, 'reserved') or '0'
    redis.call('HDEL', key, 'reserved')
    redis.call('HINCRBY', batch_key(batch), 'reserved', reserved == '0' and '0' or '-' .. reserved)
    redis.call('HINCRBY', batch_key(batch), 'active', -1)
  end
end

-- The item waits for its next attempt, `delay` ms from now.
local function queue_item(batch, item, delay)
  redis.call('ZADD', P .. 'batch:' .. batch .. ':pending', now_ms() + delay, item)
  redis.call('ZADD', P .. 'turn', 'NX', 0, batch)
end

-- A batch that had ended, or whose results are being written, runs once more. Its next results are the next revision.
-- `reason`: why it was stopped, where that still holds.
local function reopen_batch(batch, reason)
  local key = batch_key(batch)
  local f = redis.call('HMGET', key, 'finished', 'finisher')
  if not f[1] and not f[2] then return end
  redis.call('HINCRBY', key, 'revision', 1)
  redis.call('HDEL', key, 'finished', 'reason', 'finisher', 'finish_until', 'restate')
  redis.call('HSET', key, 'status', reason and 'cancelling' or 'running')
  if reason then redis.call('HSET', key, 'reason', reason) end
  redis.call('ZADD', P .. 'open', now_ms(), batch)
end

-- The vendor takes runs: the back-off is over, and a pause that the vendor, not a person, had caused.
local function all_well()
  local key = P .. 'account'
  local f = redis.call('HMGET', key, 'backoff_tries', 'probe_at')
  if f[1] then redis.call('HDEL', key, 'backoff_until', 'backoff_tries', 'trouble') end
  if f[2] then redis.call('HDEL', key, 'paused', 'probe_at', 'probe_wait', 'probing') end
end

-- True when the caller still holds the item: same state, same attempt, same lease.
local function holds(batch, item, state, attempt, lease)
  local f = redis.call('HMGET', item_key(batch, item), 'state', 'attempt', 'lease')
  return f[1] == state and f[2] == attempt and f[3] == lease
end

-- The item has ended with `outcome` (JSON). Answers how many items of the batch are still open.
local function end_item(batch, item, from, to, outcome)
  move(batch, item, from, to)
  free_place(batch, item)
  redis.call('ZREM', P .. 'due', member(batch, item))
  redis.call('ZREM', P .. 'leases', member(batch, item))
  redis.call('ZREM', P .. 'adopt', member(batch, item))
  redis.call('HDEL', item_key(batch, item), 'lease', 'rung')
  redis.call('HSET', P .. 'batch:' .. batch .. ':ended', item, outcome)
  count('ended:' .. to)
  lived(batch, to)
  return redis.call('HINCRBY', batch_key(batch), 'open', -1)
end

-- Lets an item go again that has ended in one of the `wanted` states ({state = true}). What was bought is kept: an
-- item whose run succeeded and is paid goes back to collecting, any other waits for a new run. True when it does.
local function reopen_item(batch, item, wanted)
  local key, base = item_key(batch, item), batch_key(batch)
  local f = redis.call('HMGET', key, 'state', 'paid')
  if not f[1] or not wanted[f[1]] or redis.call('HDEL', base .. ':ended', item) == 0 then return false end
  redis.call('HDEL', key, 'lease', 'rung', 'looks', 'copies', 'refusals')
  redis.call('HINCRBY', base, 'open', 1)
  if f[2] and f[1] == 'failed' then
    move(batch, item, f[1], 'collecting')
    redis.call('ZADD', P .. 'due', now_ms(), member(batch, item))
  else
    redis.call('HINCRBY', key, 'before', redis.call('HGET', key, 'tries') or 0)
    redis.call('HSET', key, 'tries', 0)
    move(batch, item, f[1], 'pending')
    queue_item(batch, item, 0)
  end
  return true
end
