-- Shared by the scripts about schedules: it stands before each of them. KEYS[1] is the prefix of all keys.
-- Leases run by the server's own clock; ticks are told by the caller.
local P = KEYS[1]

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function schedule_key(name) return P .. 'schedule:' .. name end

-- True when the caller holds the schedule.
local function holds(name, lease)
  local f = redis.call('HMGET', schedule_key(name), 'lease', 'lease_until')
  return f[1] == lease
end

-- Notes what became of a tick, newest first. Skips in a row for one reason are one record.
local function note(name, record, most)
  local key = schedule_key(name) .. ':records'
  local new = cjson.decode(record)
  local head = redis.call('LINDEX', key, 0)
  local old = head and cjson.decode(head)
  if old and new.did == 'skipped' and old.did == 'skipped' and old.why == new.why then
    old.last = new.last
    old.at = new.at
    redis.call('LSET', key, 0, cjson.encode(old))
  else
    redis.call('LPUSH', key, record)
    redis.call('LTRIM', key, 0, most - 1)
  end
end
