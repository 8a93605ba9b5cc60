-- Closes the open window of a trigger if it has been open long enough; closed windows do not change any more. Deletes
-- objects that were gathered so long ago that no event about them can come.
-- ARGV: trigger, how long a window is open (ms), how long objects are kept (ms).
-- Returns the numbers of all closed windows, oldest first.
local name, open_ms, remembered_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
local number, opened = read_fields(window_key(name), 'n', 'since')
if opened and now - tonumber(opened) >= open_ms then close_window(name, number, now) end
redis.call('ZREMRANGEBYSCORE', gathered_key(name), '-inf', now - remembered_ms)
return redis.call('ZRANGE', closed_key(name), 0, -1)
