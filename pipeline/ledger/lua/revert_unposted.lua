-- Makes an unknown run pending again: its worker lost the lease, but reports that it did not post the run.
-- ARGV: batch, item, attempt.
-- Returns 1; 0 if the item has changed meanwhile.
local batch, item, attempt = ARGV[1], ARGV[2], ARGV[3]
local state, current_attempt, hint_task = read_fields(item_key(batch, item), 'state', 'attempt', 'hint_task')
if state ~= 'unknown' or current_attempt ~= attempt or hint_task then return 0 end
reopen_ended_item(batch, item)
redis.call('ZREM', ADOPT, member_of(batch, item))
return_unposted(batch, item, 'unknown')
return 1
