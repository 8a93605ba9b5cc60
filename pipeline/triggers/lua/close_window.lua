-- Closes the open window of a trigger when it has been open long enough: nothing is added to it any more.
-- Forgets drops that were taken so long ago that no word of them can come any more.
-- KEYS: prefix of the trigger's keys. ARGV: how long a window is open (ms), how long drops are remembered (ms).
-- Answers the numbers of all closed windows, oldest first.
local P = KEYS[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local f = redis.call('HMGET', P .. 'window', 'n', 'since')
if f[2] and now - tonumber(f[2]) >= tonumber(ARGV[1]) then
  redis.call('ZADD', P .. 'closed', now, f[1])
  redis.call('HINCRBY', P .. 'window', 'n', 1)
  redis.call('HDEL', P .. 'window', 'since')
end
redis.call('ZREMRANGEBYSCORE', P .. 'taken', '-inf', now - tonumber(ARGV[2]))
return redis.call('ZRANGE', P .. 'closed', 0, -1)
