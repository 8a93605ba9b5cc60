-- Lets ended items go again, some at a time.
-- KEYS: prefix. ARGV: batch, first, last position in manifest order, state, state …
-- Answers {items looked at, items reopened}.
local batch, reopened = ARGV[1], 0
local base = P .. 'batch:' .. batch
local wanted = {}
for i = 4, #ARGV do wanted[ARGV[i]] = true end
local items = redis.call('LRANGE', base .. ':order', ARGV[2], ARGV[3])
for _, item in ipairs(items) do
  if reopen_item(batch, item, wanted) then reopened = reopened + 1 end
end
if reopened > 0 then reopen_batch(batch) end
return {#items, reopened}
