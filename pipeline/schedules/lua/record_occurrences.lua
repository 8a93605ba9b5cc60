-- Stores the occurrences between two evaluations of a schedule: they wait from now on, whatever crashes.
-- ARGV: schedule, time of the previous evaluation (ms, '' at the first), time of this one (ms), seconds to keep the
-- schedule's keys, max records, record of missed occurrences (JSON, '' for none), then occurrence, due (ms), 1 if it is
-- caught up or 0, of each.
-- Returns 1; 0 if another process has evaluated that time.
local name, seen, now, keep_s, max_records, missed_record = unpack(ARGV, 1, 6)
local key = schedule_key(name)
if (redis.call('HGET', key, 'seen') or '') ~= seen then return 0 end
redis.call('HSET', key, 'seen', now)
if missed_record ~= '' then add_record(name, missed_record, max_records) end
for _, row in ipairs(argv_rows(7, 'occurrence', 'due', 'caught_up')) do
  redis.call('ZADD', waiting_key(name), 'NX', row.due, row.occurrence)
  if row.caught_up == '1' then redis.call('SADD', caught_up_key(name), row.occurrence) end
end
for _, key_of in ipairs({schedule_key, waiting_key, caught_up_key, attempts_key, open_batches_key, records_key}) do
  redis.call('EXPIRE', key_of(name), keep_s)
end
return 1
