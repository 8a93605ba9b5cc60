-- Ends a batch as cancelled whose submission was not completed: nothing of it was posted. A half-done recovery (its digest
-- is '') stays: its runs may be paid.
-- ARGV: batch, reason, ms since the last attempt to submit it, below which it is left alone.
-- Returns 1; 0 if its submission was completed, or has ended, or may still go on.
local batch, reason, min_age = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key, now = batch_key(batch), now_ms()
local status, accepted, digest, submitted, created =
  read_fields(key, 'status', 'accepted', 'asked', 'submitted', 'created')
if not status or accepted or (digest or '') == '' then return 0 end
if status == 'cancelled' or now - (submitted or created or 0) < min_age then return 0 end
drop_submission(batch)
-- Its row stays, so it must be small.
local is_read, config = pcall(cjson.decode, redis.call('HGET', key, 'plan') or '')
local model = is_read and type(config) == 'table' and config.model or ''
redis.call('HSET', key, 'plan', cjson.encode({model = model}))
redis.call('HDEL', key, 'defaults')
redis.call('HDEL', key, 'n:pending')
redis.call('HSET', key, 'status', 'cancelled', 'reason', reason, 'finished', now, 'total', 0, 'open', 0)
return 1
