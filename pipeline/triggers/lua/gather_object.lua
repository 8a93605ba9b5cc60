-- Adds an object version to the open window of a trigger, once. A full window is closed and the next one opened.
-- ARGV: trigger, digest of the object version, the object version (JSON), max objects in a window.
-- Returns 1; 0 if the object version was gathered before.
local name, digest, object, max_objects = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local now, window = now_ms(), window_key(name)
if redis.call('ZSCORE', gathered_key(name), digest) then return 0 end
local number = redis.call('HGET', window, 'n') or redis.call('HINCRBY', window, 'n', 1)
if redis.call('HLEN', window_objects_key(name, number)) >= max_objects then
  number = close_window(name, number, now)
end
redis.call('ZADD', gathered_key(name), now, digest)
-- It expires after the trigger has gathered nothing for so long: no event about an object comes so late.
redis.call('PEXPIRE', gathered_key(name), 90 * 86400000)
redis.call('HSETNX', window, 'since', now)
redis.call('HSET', window_objects_key(name, number), digest, object)
return 1
