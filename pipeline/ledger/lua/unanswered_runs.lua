-- Returns the runs that may have a task which the ledger has not recorded: those that are being posted, and unknown ones.
-- ARGV: max runs.
-- Returns {1, or 0 if there are more, runs {{batch, item, attempt, posted (ms), spec (JSON)} …}}.
local max_runs = tonumber(ARGV[1])
if redis.call('ZCARD', LEASES) + redis.call('SCARD', LOST) > max_runs then return {0, {}} end

-- Return the row of a run; nil if it is neither.
local function read_run(batch, item)
  local state, attempt, posted = read_fields(item_key(batch, item), 'state', 'attempt', 'posted')
  if state ~= 'submitting' and state ~= 'unknown' then return nil end
  return {batch, item, attempt, posted, redis.call('HGET', specs_key(batch), item)}
end

local runs = {}
for _, member in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do runs[#runs + 1] = try_run(LEASES, member, read_run) end
for _, member in ipairs(redis.call('SMEMBERS', LOST)) do runs[#runs + 1] = try_run(LOST, member, read_run) end
return {1, runs}
