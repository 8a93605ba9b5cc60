-- Records a batch that a person started.
-- ARGV: schedule, batch, record (JSON), max records.
-- Returns 1.
local name, batch, record, max_records = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
redis.call('SADD', open_batches_key(name), batch)
add_record(name, record, max_records)
return 1
