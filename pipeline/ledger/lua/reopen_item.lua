-- Lets one ended item go again.
-- KEYS: prefix. ARGV: batch, item, state, state …: those it may have ended in.
-- Answers 1; 0 when it has not ended so; -1 where there is no such item.
local batch, item = ARGV[1], ARGV[2]
if redis.call('HEXISTS', P .. 'batch:' .. batch .. ':specs', item) == 0 then return -1 end
local wanted = {}
for i = 3, #ARGV do wanted[ARGV[i]] = true end
if not reopen_item(batch, item, wanted) then return 0 end
reopen_batch(batch)
return 1
