-- Puts a drop into the open window of a trigger, once. A full window is closed and the next one opened.
-- KEYS: prefix of the trigger's keys. ARGV: digest of the drop, the drop (JSON), most drops in a window.
-- Answers 1; 0 when the drop was taken before.
local P = KEYS[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('ZSCORE', P .. 'taken', ARGV[1]) then return 0 end
local n = redis.call('HGET', P .. 'window', 'n') or redis.call('HINCRBY', P .. 'window', 'n', 1)
if redis.call('HLEN', P .. 'window:' .. n) >= tonumber(ARGV[3]) then
  redis.call('ZADD', P .. 'closed', now, n)
  n = redis.call('HINCRBY', P .. 'window', 'n', 1)
  redis.call('HDEL', P .. 'window', 'since')
end
redis.call('ZADD', P .. 'taken', now, ARGV[1])
redis.call('HSETNX', P .. 'window', 'since', now)
redis.call('HSET', P .. 'window:' .. n, ARGV[1], ARGV[2])
return 1
