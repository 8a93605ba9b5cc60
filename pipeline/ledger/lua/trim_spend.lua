-- Adds the charges of old days up: the field of day 0 holds the sum of all days that were removed.
-- ARGV: max days.
local max_days = tonumber(ARGV[1])
local oldest = math.floor(now_ms() / MS_PER_DAY) - max_days + 1
if redis.call('HLEN', SPEND) <= max_days then return end
for _, day in ipairs(redis.call('HKEYS', SPEND)) do
  local number = tonumber(day)
  if number and number > 0 and number < oldest then
    add_money(SPEND, 0, redis.call('HGET', SPEND, day))
    redis.call('HDEL', SPEND, day)
  end
end
