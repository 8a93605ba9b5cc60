-- Leases notifications that are due.
-- ARGV: max deliveries, lease (ms).
-- Returns {ms until the next one is due or -1, deliveries {{batch, revision, attempts} …}}.
local max_deliveries, lease_ms = ARGV[1], ARGV[2]
local now, deliveries = now_ms(), {}

-- Lease a notification and return its row; nil if there is none.
local function claim(batch)
  local revision = redis.call('HGET', batch_key(batch), 'notice')
  if not revision then
    redis.call('ZREM', DELIVERIES, batch)
    return nil
  end
  redis.call('ZADD', DELIVERIES, now + lease_ms, batch)
  return {batch, revision, redis.call('HINCRBY', batch_key(batch), 'notice_tries', 1)}
end

for _, batch in ipairs(due_members(DELIVERIES, now, max_deliveries)) do
  deliveries[#deliveries + 1] = try_batch(DELIVERIES, batch, claim)
end
return {ms_until_first(DELIVERIES, now), deliveries}
