-- Claims pending items for submission, fairly between batches, within window, budgets and back-off.
-- KEYS: prefix.
-- ARGV: most items, lease (ms), lease token, most active runs for the account (0: no limit of ours).
-- Answers {ms until the next one is due or -1, batches out of budget {id …}, claimed {{batch, item, attempt, tries, refusals,
-- spec} …}}.
local most, lease_ms, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local now = now_ms()
local account = redis.call('HMGET', P .. 'account', 'paused', 'backoff_until', 'backoff_tries', 'window', 'probe_at')
local probing = account[1] and account[5]
if account[1] and not probing then return {-1, {}, {}} end
if probing and tonumber(account[5]) > now then return {tonumber(account[5]) - now, {}, {}} end
if account[2] and tonumber(account[2]) > now then return {tonumber(account[2]) - now, {}, {}} end

local cap = tonumber(ARGV[4])
if account[4] then
  local window = math.floor(tonumber(account[4]))
  if cap == 0 or window < cap then cap = window end
end
local free = most
local active = redis.call('SCARD', P .. 'active')
if cap > 0 then free = math.min(free, cap - active) end
-- After trouble one run at a time feels its way until the vendor answers well again.
if probing or (tonumber(account[3]) or 0) > 0 then free = math.min(free, 1) end
if free <= 0 then return {-1, {}, {}} end

local function room(batch)
  local f = redis.call('HMGET', batch_key(batch), 'status', 'max_active', 'active', 'budget', 'cost', 'reserved', 'price')
  if f[1] ~= 'running' then return 0, false end
  local left = most
  if f[2] and tonumber(f[2]) > 0 then left = tonumber(f[2]) - tonumber(f[3] or 0) end
  if f[4] then
    local price, reserved = tonumber(f[7] or 0), tonumber(f[6] or 0)
    local money = tonumber(f[4]) - tonumber(f[5] or 0) - reserved
    if price > 0 then
      local affordable = math.floor(money / price)
      if affordable <= 0 and reserved == 0 then return 0, true end
      left = math.min(left, affordable)
    else
      -- The price is not known yet: one run alone shows it.
      if money <= 0 then return 0, true end
      left = math.min(left, 1 - tonumber(f[3] or 0))
    end
  end
  return left, false
end

local next_due, broke, claimed = -1, {}, {}

-- More batches than this are looked at in turns.
local MOST_BATCHES = 50
-- What each batch could use now, the modest first: what they leave goes to the others.
local wants = {}
for order, batch in ipairs(redis.call('ZRANGE', P .. 'turn', 0, MOST_BATCHES - 1)) do
  local pending = P .. 'batch:' .. batch .. ':pending'
  local left, no_money = room(batch)
  if no_money then broke[#broke + 1] = batch end
  local want = 0
  if left > 0 then want = math.min(left, free, redis.call('ZCOUNT', pending, '-inf', now)) end
  wants[#wants + 1] = {batch = batch, pending = pending, left = left, want = want, order = order}
end
table.sort(wants, function(a, b) return a.want < b.want or (a.want == b.want and a.order < b.order) end)

local function claim(batch, item)
  local key = item_key(batch, item)
  local f = redis.call('HMGET', key, 'tries', 'refusals')
  local tries = tonumber(f[1] or 0) + 1
  local attempt = redis.call('HINCRBY', key, 'attempt', 1)
  redis.call('HSET', key, 'tries', tries, 'lease', lease, 'posted', now)
  redis.call('HDEL', key, 'posting', 'task', 'token', 'rung', 'hint_task', 'hint_token', 'looks', 'copies')
  move(batch, item, 'pending', 'submitting')
  take_place(batch, item)
  redis.call('ZADD', P .. 'leases', now + lease_ms, member(batch, item))
  claimed[#claimed + 1] = {batch, item, attempt, tries, tonumber(f[2] or 0),
                           redis.call('HGET', P .. 'batch:' .. batch .. ':specs', item)}
end

for i, w in ipairs(wants) do
  local share = math.min(w.want, math.ceil((free - #claimed) / (#wants - i + 1)))
  local items = {}
  if share > 0 then
    items = redis.call('ZRANGEBYSCORE', w.pending, '-inf', now, 'LIMIT', 0, share)
    redis.call('ZREM', w.pending, unpack(items))
  end
  if share > 0 or #wants == MOST_BATCHES then redis.call('ZADD', P .. 'turn', now, w.batch) end
  for _, item in ipairs(items) do claim(w.batch, item) end
  local first = redis.call('ZRANGE', w.pending, 0, 0, 'WITHSCORES')
  if #first == 0 then
    redis.call('ZREM', P .. 'turn', w.batch)
  elseif w.left > #items then
    local due = math.max(0, math.ceil(tonumber(first[2]) - now))
    if next_due < 0 or due < next_due then next_due = due end
  end
end
if probing and #claimed > 0 then
  -- Nobody else probes while this run is on its way; its answer sets the next time.
  redis.call('HSET', P .. 'account', 'probe_at', now + lease_ms, 'probing', 1)
end
return {next_due, broke, claimed}
