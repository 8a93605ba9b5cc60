-- Precedes every script of every package. KEYS[1] is the prefix of all keys.
-- Scripts derive keys from the prefix: they need one Redis server, not a cluster.
-- Times are milliseconds of the server's clock, so the clocks of workers do not matter.
local PREFIX = KEYS[1]

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function batch_key(batch) return PREFIX .. 'batch:' .. batch end

-- Return the named fields of a hash as multiple values; false for a missing field.
local function read_fields(key, ...) return unpack(redis.call('HMGET', key, ...)) end

-- Return ARGV from position `first` on as a list of rows: tables with the given field names.
local function argv_rows(first, ...)
  local names, rows = {...}, {}
  for start = first, #ARGV, #names do
    local row = {}
    for offset, name in ipairs(names) do row[name] = ARGV[start + offset - 1] end
    rows[#rows + 1] = row
  end
  return rows
end

-- Return ARGV from position `first` on as a set: {value = true}.
local function argv_set(first)
  local set = {}
  for i = first, #ARGV do set[ARGV[i]] = true end
  return set
end

-- Return up to `limit` members of a queue (a zset scored by due time) that are due at `now`, the oldest first.
local function due_members(queue, now, limit)
  return redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, limit)
end

-- Return the ms until the first member of a queue is due; -1 if the queue is empty.
local function ms_until_first(queue, now)
  local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  if #first == 0 then return -1 end
  return math.max(0, math.ceil(tonumber(first[2]) - now))
end
