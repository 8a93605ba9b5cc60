-- Notes a batch that was started by hand.
-- KEYS: prefix. ARGV: schedule, batch, record, most records.
local key = schedule_key(ARGV[1])
redis.call('SADD', key .. ':open', ARGV[2])
note(ARGV[1], ARGV[3], ARGV[4])
return 1
