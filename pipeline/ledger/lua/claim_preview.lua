-- Leases the request for previews that has been due for the longest time.
-- ARGV: lease (ms), max attempts.
-- Returns {batch, item or '', lease, attempt}; nil if none is due. What cannot be read, or was attempted too often, is removed.
local lease_ms, max_attempts = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = now_ms()

-- Lease a request and return its row; nil if it is removed.
local function claim(member)
  local batch, item = member:match('^(%S+) (%S*)$')
  if batch and is_id(batch) and (item == '' or is_id(item)) and redis.call('EXISTS', batch_key(batch)) == 1 then
    local attempt = redis.call('HINCRBY', previews_key(batch), attempts_field(item), 1)
    if attempt <= max_attempts then
      redis.call('ZADD', PREVIEWS, now + lease_ms, member)
      return {batch, item, tostring(now + lease_ms), attempt}
    end
    redis.call('HDEL', previews_key(batch), attempts_field(item))
  end
  redis.call('ZREM', PREVIEWS, member)
  return nil
end

while true do
  local member = due_members(PREVIEWS, now, 1)[1]
  if not member then return nil end
  local request = try_member(PREVIEWS, member, claim, member)
  if request then return request end
end
