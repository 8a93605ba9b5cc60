-- Adds what items bought to the index of outputs, as S3 records it, or removes items from it. What the ledger has of an item
-- is newer: a rejected one is not added.
-- ARGV: for each item: digest, batch/item, task, outcome (JSON; '' to remove it), when it was bought (ms).
for _, row in ipairs(argv_rows(1, 'key', 'source', 'task', 'outcome', 'bought_at')) do
  local batch, item = split_name(row.source)
  if row.outcome == '' then
    remove_source(row.key, row.source)
  elseif batch and (redis.call('EXISTS', item_key(batch, item)) == 0 or is_reusable(row.source)) then
    add_stored(row.key, row.source, row.task, row.outcome, row.bought_at)
  end
end
return 1
