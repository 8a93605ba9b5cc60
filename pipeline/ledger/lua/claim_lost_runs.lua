-- Leases the search for lost runs if some are due for one. Each is due again later, after twice the wait, while it may
-- still be found.
-- ARGV: max runs, lease (ms), lease token, longest wait between two searches (ms).
-- Returns {ms until the next search or -1, runs {{batch, item, attempt, posted (ms), spec (JSON)} …}}. No runs: none is due,
-- or another process searches.
local max_runs, lease_ms, lease, max_wait = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
-- Runs that are due a moment later share the listing.
local SHARED_MS = 1000
local MAX_DOUBLINGS = 16
local now = now_ms()

-- Return the row of a run to search for; nil if it is no longer lost.
local function claim(batch, item)
  local key, member = item_key(batch, item), member_of(batch, item)
  local state, attempt, posted, searches, search_until =
    read_fields(key, 'state', 'attempt', 'posted', 'searches', 'search_until')
  local wait = FIRST_SEARCH_MS * 2 ^ math.min(tonumber(searches or 0), MAX_DOUBLINGS)
  local next_search = now + math.min(wait, math.max(max_wait, FIRST_SEARCH_MS))
  if state ~= 'unknown' or next_search > tonumber(search_until or 0) then
    redis.call('ZREM', SEARCH, member)
  else
    redis.call('ZADD', SEARCH, next_search, member)
  end
  if state ~= 'unknown' then return nil end
  redis.call('HINCRBY', key, 'searches', 1)
  return {batch, item, attempt, posted, redis.call('HGET', specs_key(batch), item)}
end

if #due_members(SEARCH, now, 1) == 0 then return {ms_until_first(SEARCH, now), {}} end
if not redis.call('SET', SEARCH_LEASE, lease, 'NX', 'PX', lease_ms) then return {-1, {}} end
local runs = {}
for _, member in ipairs(due_members(SEARCH, now + SHARED_MS, max_runs)) do
  runs[#runs + 1] = try_run(SEARCH, member, claim)
end
return {ms_until_first(SEARCH, now), runs}
