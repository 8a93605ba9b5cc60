-- Leases runs that are due: a callback came, it is time to poll, or the lease of another worker expired.
-- ARGV: max runs, lease (ms), lease token.
-- Returns {ms until the next one is due or -1, leases {{batch, item, batch status, state, attempt, attempts spent,
-- task, token, posted (ms), failed polls, failed copies, hint task, hint token, what named it, reserved and expected price
-- (pico-USD), now (ms), polls without a usable response, item whose outputs it reuses ('' if it has a run of its own),
-- their outcome (JSON)} …}}.
local max_runs, lease_ms, lease = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local now = now_ms()

-- Lease a run and return its row; nil if nothing is to be done with it.
local function claim(batch, item)
  local key = item_key(batch, item)
  local state, attempt, attempts_spent, task, token, posted, failed_polls, failed_copies, hint_task, hint_token,
    hint_by, reserved, failed_replies, reused_from, source =
    read_fields(key, 'state', 'attempt', 'tries', 'task', 'token', 'posted', 'looks', 'copies', 'hint_task', 'hint_token',
                'hint_by', 'reserved', 'faults', 'reused_from', 'source')
  if not state and redis.call('EXISTS', batch_key(batch)) == 1 then error('Its record is missing.') end
  if state ~= 'running' and state ~= 'collecting' and state ~= 'unknown' then
    redis.call('ZREM', DUE, member_of(batch, item))
    return nil
  end
  if not (tonumber(attempt) and tonumber(posted)) then error('The attempt or its time is missing.') end
  redis.call('HSET', key, 'lease', lease)
  redis.call('HDEL', key, 'rung')
  redis.call('ZADD', DUE, now + lease_ms, member_of(batch, item))
  local batch_status = redis.call('HGET', batch_key(batch), 'status')
  return {batch, item, batch_status or '', state, attempt, attempts_spent or '0', task or '', token or '', posted,
          failed_polls or '0', failed_copies or '0', hint_task or '', hint_token or '', hint_by or '', reserved or '0',
          expected_price(batch, item), tostring(now), failed_replies or '0', reused_from or '', source or ''}
end

local leases = {}
for _, member in ipairs(due_members(DUE, now, max_runs)) do
  leases[#leases + 1] = try_run(DUE, member, claim)
end
return {ms_until_first(DUE, now), leases}
