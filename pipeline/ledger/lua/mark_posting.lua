-- Records that runs are about to be posted: from now on a lost response makes them unknown. Repeating it is harmless.
-- ARGV: batch, item, attempt, lease, digest ('' if it is not known) of each run.
-- Returns 1 or 0 for each: whether the caller still holds it.
local held = {}
for i, run in ipairs(argv_rows(1, 'batch', 'item', 'attempt', 'lease', 'reuse_key')) do
  held[i] = 0
  local is_read, is_held = pcall(holds_lease, run.batch, run.item, 'submitting', run.attempt, run.lease)
  if is_read and is_held then
    redis.call('HSET', item_key(run.batch, run.item), 'posting', 1, 'key', run.reuse_key)
    held[i] = 1
  end
end
return held
