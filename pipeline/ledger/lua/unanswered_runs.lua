-- Returns the runs that may have a task which the ledger does not know: those that are being posted, and unknown ones.
-- ARGV: max runs.
-- Returns {1, or 0 if there are more, runs {{batch, item, attempt, posted (ms), spec (JSON)} …}}.
local max_runs = tonumber(ARGV[1])
if redis.call('ZCARD', LEASES) + redis.call('SCARD', LOST) > max_runs then return {0, {}} end
local runs = {}
for _, members in ipairs({redis.call('ZRANGE', LEASES, 0, -1), redis.call('SMEMBERS', LOST)}) do
  for _, member in ipairs(members) do
    local batch, item = parse_member(member)
    local state, attempt, posted = read_fields(item_key(batch, item), 'state', 'attempt', 'posted')
    if state == 'submitting' or state == 'unknown' then
      runs[#runs + 1] = {batch, item, attempt, posted, redis.call('HGET', specs_key(batch), item)}
    end
  end
end
return {1, runs}
