-- Completes an occurrence: its batch was started, it is skipped, or it failed.
-- ARGV: schedule, lease token, occurrence, batch that was started ('' for none), record (JSON), max records.
-- Returns 1; 0 if the lease was lost or the occurrence does not wait any more.
local name, lease, occurrence, batch, record, max_records = unpack(ARGV)
if not holds_waiting(name, lease, occurrence) then return 0 end
redis.call('ZREM', waiting_key(name), occurrence)
redis.call('SREM', caught_up_key(name), occurrence)
redis.call('HDEL', attempts_key(name), occurrence)
if batch ~= '' then redis.call('SADD', open_batches_key(name), batch) end
add_record(name, record, max_records)
return 1
