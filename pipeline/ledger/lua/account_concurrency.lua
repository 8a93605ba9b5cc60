-- Sets the concurrency limit of the account.
-- ARGV: max active runs (0: one fewer than now).
local limit = tonumber(ARGV[1])
if limit == 0 then limit = math.max(1, redis.call('SCARD', ACTIVE) - 1) end
redis.call('HSET', ACCOUNT, 'window', limit)
return 1
