-- Claims the writing of a batch's results, once every item has ended, or when they are to be stated anew.
-- KEYS: prefix. ARGV: batch, lease (ms), lease token.
-- Answers 1 when the caller is to write them, else 0.
local key = batch_key(ARGV[1])
local f = redis.call('HMGET', key, 'open', 'loaded', 'finished', 'finish_until', 'restate')
if f[1] ~= '0' or not f[2] or (f[3] and not f[5]) then return 0 end
local now = now_ms()
if f[4] and tonumber(f[4]) > now then return 0 end
redis.call('HSET', key, 'finisher', ARGV[3], 'finish_until', now + ARGV[2])
return 1
