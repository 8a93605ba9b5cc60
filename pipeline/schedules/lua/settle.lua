-- A tick is done with: its batch was started, or it is skipped, or it has failed.
-- KEYS: prefix. ARGV: schedule, lease, tick, batch that was started ('' none), record, most records.
-- Answers 1; 0 when the lease was lost, or when the tick does not wait any more.
local key = schedule_key(ARGV[1])
if not holds(ARGV[1], ARGV[2]) then return 0 end
if redis.call('ZREM', key .. ':waiting', ARGV[3]) == 0 then return 0 end
redis.call('SREM', key .. ':caught_up', ARGV[3])
redis.call('HDEL', key .. ':tries', ARGV[3])
if ARGV[4] ~= '' then redis.call('SADD', key .. ':open', ARGV[4]) end
note(ARGV[1], ARGV[5], ARGV[6])
return 1
