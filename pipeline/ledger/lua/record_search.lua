-- Records that unknown runs are not in the vendor's list of tasks, which was read as a whole.
-- ARGV: batch, item, attempt of each run.
-- Returns 1.
local function record(run)
  local key = item_key(run.batch, run.item)
  local state, attempt = read_fields(key, 'state', 'attempt')
  if state == 'unknown' and attempt == run.attempt then redis.call('HSET', key, 'searched', attempt) end
end

for _, run in ipairs(argv_rows(1, 'batch', 'item', 'attempt')) do pcall(record, run) end
return 1
