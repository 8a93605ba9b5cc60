-- The time from `seen` to `now` has been looked at: what became due waits from here on, and is lost by no crash.
-- KEYS: prefix. ARGV: schedule, seen ('' the first time), now (ms), seconds to keep all of it, most records,
--   record of what was missed ('' none), then tick, when it is to start (ms), 1 if it is caught up, tick, …
-- Answers 1; 0 when somebody else has looked at that time already.
local key = schedule_key(ARGV[1])
if (redis.call('HGET', key, 'seen') or '') ~= ARGV[2] then return 0 end
redis.call('HSET', key, 'seen', ARGV[3])
if ARGV[6] ~= '' then note(ARGV[1], ARGV[6], ARGV[5]) end
for i = 7, #ARGV, 3 do
  redis.call('ZADD', key .. ':waiting', 'NX', ARGV[i + 1], ARGV[i])
  if ARGV[i + 2] == '1' then redis.call('SADD', key .. ':caught_up', ARGV[i]) end
end
for _, part in ipairs({'', ':waiting', ':caught_up', ':tries', ':open', ':records'}) do
  redis.call('EXPIRE', key .. part, ARGV[4])
end
return 1
