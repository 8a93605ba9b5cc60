-- Leases pending items for submission: fairly between batches, within concurrency limits, budgets, ceilings and backoff.
-- ARGV: max items, lease (ms), lease token, max active runs of the account (0: no limit of ours), max runs that are posted
-- at a time before the account has accepted one (0: no limit), ceilings of a batch and of a UTC day (pico-USD, 0: none).
-- Returns {ms until the next item is due or -1, batches out of budget {id …}, leases {{batch, item, attempt,
-- attempts spent, refusals, spec} …}}.
local max_items, lease_ms, lease, max_active = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local max_unproven, max_batch, max_day = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local now = now_ms()
local day = read_day(now, max_day)
-- If more batches have pending items, they are considered in rotation.
local MAX_BATCHES = 50

local function read_account()
  local paused, probe_at, backoff_until, backoff_attempts, limit, accepted_at =
    read_fields(ACCOUNT, 'paused', 'probe_at', 'backoff_until', 'backoff_tries', 'window', 'accepted_at')
  return {
    paused = paused,
    probe_at = tonumber(probe_at),
    backoff_until = tonumber(backoff_until) or 0,
    backoff_attempts = tonumber(backoff_attempts) or 0,
    limit = limit and math.floor(tonumber(limit)),
    is_proven = is_proven(accepted_at, now),
  }
end

-- Return the ms until the account takes submissions: 0 if it does now, -1 if a person must resume it.
local function account_wait(account)
  if account.paused and not account.probe_at then return -1 end
  if account.paused and account.probe_at > now then return account.probe_at - now end
  return math.max(0, account.backoff_until - now)
end

-- Return how many runs the account may start now. After a refusal a single run probes until one is accepted.
local function free_slots(account)
  local limit = max_active
  if account.limit and (limit == 0 or account.limit < limit) then limit = account.limit end
  local free = max_items
  if limit > 0 then free = math.min(free, limit - redis.call('SCARD', ACTIVE)) end
  if max_unproven > 0 and not account.is_proven then
    free = math.min(free, max_unproven - redis.call('ZCARD', LEASES))
  end
  if account.paused or account.backoff_attempts > 0 then free = math.min(free, 1) end
  return free
end

-- Return how many runs a batch may start now, and what is left of its budget, or of the ceiling: nil without either.
local function batch_slots(batch)
  local status, limit, active, budget, cost, reserved =
    read_fields(batch_key(batch), 'status', 'max_active', 'active', 'budget', 'cost', 'reserved')
  if status ~= 'running' then return 0 end
  active, limit = tonumber(active or 0), tonumber(limit or 0)
  local slots = limit > 0 and limit - active or max_items
  budget = tonumber(budget)
  if max_batch > 0 and (not budget or max_batch < budget) then budget = max_batch end
  if not budget then return slots end
  return slots, budget - tonumber(cost or 0) - tonumber(reserved or 0), active
end

-- Return how many of the next due items `money` pays for, at most `wanted`, and whether the budget is spent: an active run
-- may return its reservation, so it is not while there is one.
local function affordable_items(batch, wanted, money, active)
  local items = due_members(pending_key(batch), now, wanted)
  local first = items[1] or redis.call('ZRANGE', pending_key(batch), 0, 0)[1]
  local price = first and tonumber(price_to_reserve(batch, first)) or 0
  if money <= 0 or price > money then return 0, active == 0 end
  local number = 0
  for _, item in ipairs(items) do
    price = tonumber(price_to_reserve(batch, item))
    -- The price is unknown: a single run finds out.
    if price == 0 then return active + number == 0 and 1 or number, false end
    money = money - price
    if money < 0 then break end
    number = number + 1
  end
  return number, false
end

-- Return how many items of a batch can be leased now, at most `wanted`, and whether its budget is spent.
local function batch_demand(batch, wanted, money, active)
  if wanted <= 0 then return 0, false end
  if not money then return math.min(wanted, redis.call('ZCOUNT', pending_key(batch), '-inf', now)), false end
  return affordable_items(batch, wanted, money, active)
end

-- Return the batches with pending items, those with the smallest demand first, and the ids of those out of budget.
local function read_demand(free)
  local batches, out_of_budget = {}, {}
  local function add(id)
    local slots, money, active = batch_slots(id)
    local demand, is_out_of_budget = batch_demand(id, math.min(slots, free), money, active)
    if is_out_of_budget then out_of_budget[#out_of_budget + 1] = id end
    batches[#batches + 1] = {id = id, slots = money and demand or slots, demand = demand, position = #batches + 1}
  end
  for _, id in ipairs(redis.call('ZRANGE', FAIRNESS_QUEUE, 0, MAX_BATCHES - 1)) do try_batch(FAIRNESS_QUEUE, id, add) end
  table.sort(batches, function(a, b)
    return a.demand < b.demand or (a.demand == b.demand and a.position < b.position)
  end)
  return batches, out_of_budget
end

-- Lease one item; returns its row.
local function claim_item(batch, item)
  local key, spec = item_key(batch, item), redis.call('HGET', specs_key(batch), item)
  if not (is_id(item) and spec) then error('It is no item of the batch.') end
  local attempts_spent, refusals = read_fields(key, 'tries', 'refusals')
  attempts_spent = tonumber(attempts_spent or 0) + 1
  local attempt = redis.call('HINCRBY', key, 'attempt', 1)
  redis.call('HSET', key, 'tries', attempts_spent, 'lease', lease, 'posted', now)
  redis.call('HDEL', key, 'posting', 'task', 'token', 'rung', 'hint_task', 'hint_token', 'hint_by', 'found_by', 'searches',
             'search_until', 'looks', 'faults', 'copies', 'key', 'reused_from', 'source')
  change_state(batch, item, 'pending', 'submitting')
  acquire_slot(batch, item)
  redis.call('ZADD', LEASES, now + lease_ms, member_of(batch, item))
  return {batch, item, attempt, attempts_spent, tonumber(refusals or 0), spec}
end

-- Take up to `share` due items off the pending queue of a batch, as many as the ceiling of the day allows.
local function take_due(batch, share)
  if share <= 0 then return {} end
  local items = {}
  for _, item in ipairs(due_members(pending_key(batch), now, share)) do
    if not day.allows(tonumber(price_to_reserve(batch, item))) then break end
    items[#items + 1] = item
  end
  if #items > 0 then redis.call('ZREM', pending_key(batch), unpack(items)) end
  return items
end

-- Lease up to `share` items of a batch. Returns ms until its next item is due; -1 if it waits for something else.
local function claim_share(batch, share, is_rotated, rows)
  local items = take_due(batch.id, share)
  if share > 0 or is_rotated then redis.call('ZADD', FAIRNESS_QUEUE, now, batch.id) end
  for _, item in ipairs(items) do
    rows[#rows + 1] = try_member(pending_key(batch.id), item, claim_item, batch.id, item)
  end
  local wait = ms_until_first(pending_key(batch.id), now)
  if wait < 0 then redis.call('ZREM', FAIRNESS_QUEUE, batch.id) end
  if #items < share then return -1 end
  return batch.slots > #items and wait or -1
end

-- Return the smaller of two waits in ms; -1 is no wait.
local function earlier(a, b)
  if a < 0 or b < 0 then return math.max(a, b) end
  return math.min(a, b)
end

local account = read_account()
local wait = account_wait(account)
if wait ~= 0 then return {wait, {}, {}} end
local free = free_slots(account)
if free <= 0 then return {-1, {}, {}} end

local next_due, rows = -1, {}
local batches, out_of_budget = read_demand(free)
for i, batch in ipairs(batches) do
  -- Batches with a small demand come first: the others share what these leave.
  local share = math.min(batch.demand, math.ceil((free - #rows) / (#batches - i + 1)))
  local function claim() return claim_share(batch, share, #batches == MAX_BATCHES, rows) end
  next_due = earlier(next_due, try_batch(FAIRNESS_QUEUE, batch.id, claim) or -1)
end
next_due = earlier(next_due, day.record_wait())
if account.paused and #rows > 0 then
  -- One probe at a time: its result sets when the next one starts.
  redis.call('HSET', ACCOUNT, 'probe_at', now + lease_ms, 'probing', lease)
end
return {next_due, out_of_budget, rows}
