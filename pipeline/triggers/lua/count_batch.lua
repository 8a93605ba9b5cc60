-- Counts a batch of a trigger among those of the UTC day, once.
-- ARGV: trigger, batch ('' to count none), max batches in a day, ms after which the day is forgotten.
-- Returns {day since 1970, 1 if the day has room for another batch, or if the batch is counted, else 0}.
local name, batch, max_batches, remembered_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local MS_PER_DAY = 86400000
local day = math.floor(now_ms() / MS_PER_DAY)
local started = trigger_key(name, 'day:' .. day)
if redis.call('SISMEMBER', started, batch) == 1 then return {day, 1} end
if redis.call('SCARD', started) >= max_batches then return {day, 0} end
if batch ~= '' then
  redis.call('SADD', started, batch)
  redis.call('PEXPIRE', started, remembered_ms)
end
return {day, 1}
