-- Leases notifications that are due.
-- ARGV: max deliveries, lease (ms).
-- Returns {ms until the next one is due or -1, deliveries {{batch, revision, attempts} …}}.
local max_deliveries, lease_ms = ARGV[1], ARGV[2]
local now, deliveries = now_ms(), {}
for _, batch in ipairs(due_members(DELIVERIES, now, max_deliveries)) do
  local revision = redis.call('HGET', batch_key(batch), 'notice')
  if revision then
    redis.call('ZADD', DELIVERIES, now + lease_ms, batch)
    deliveries[#deliveries + 1] = {batch, revision, redis.call('HINCRBY', batch_key(batch), 'notice_tries', 1)}
  else
    redis.call('ZREM', DELIVERIES, batch)
  end
end
return {ms_until_first(DELIVERIES, now), deliveries}
