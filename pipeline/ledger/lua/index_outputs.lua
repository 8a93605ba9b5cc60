-- Adds items to the index of outputs that were bought, or removes them from it.
-- ARGV: for each item: digest, batch/item, task, outcome (JSON; '' to remove it), when it was bought (ms).
for _, row in ipairs(argv_rows(1, 'key', 'source', 'task', 'outcome', 'bought_at')) do
  if row.outcome == '' then
    remove_source(row.key, row.source)
  else
    add_source(row.key, row.source, row.task, row.outcome, row.bought_at)
  end
end
return 1
