-- Keys of triggers and their gather windows. pipeline/ledger/keys.py describes the keys.
local function trigger_key(name, part) return PREFIX .. 'trigger:' .. name .. ':' .. part end
local function window_key(name) return trigger_key(name, 'window') end
local function window_objects_key(name, number) return trigger_key(name, 'window:' .. number) end
local function gathered_key(name) return trigger_key(name, 'taken') end
local function closed_key(name) return trigger_key(name, 'closed') end

-- Close the open window, `number`; the next object opens the next one. Returns the number of the next window.
local function close_window(name, number, now)
  redis.call('ZADD', closed_key(name), now, number)
  redis.call('HDEL', window_key(name), 'since')
  return redis.call('HINCRBY', window_key(name), 'n', 1)
end
