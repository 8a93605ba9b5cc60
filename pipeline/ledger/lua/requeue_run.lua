-- Makes an item pending again whose run was refused or failed.
-- ARGV: batch, item, from state (submitting | running), attempt, lease, delay (ms), what counts: 'attempt' against the
-- limit of attempts, 'refusal' against the limit of refusals, 'nothing'; charge of the run (pico-USD), warning if it is far
-- above the price, else ''.
-- Returns 1; 2 if its batch is being cancelled, so that the item must end; 0 if the caller does not hold the item.
local batch, item, from, attempt, lease, delay, counted, charge, overcharge = unpack(ARGV)
if not holds_lease(batch, item, from, attempt, lease) then return 0 end
local key, member = item_key(batch, item), member_of(batch, item)
change_state(batch, item, from, 'pending')
release_slot(batch, item)
add_lost_charge(batch, item, charge, overcharge)
if counted == 'attempt' then
  count('retried')
else
  count('refused')
  redis.call('HINCRBY', key, 'tries', -1)
  if counted == 'refusal' then redis.call('HINCRBY', key, 'refusals', 1) end
end
redis.call('HDEL', key, 'lease')
redis.call('ZREM', LEASES, member)
redis.call('ZREM', DUE, member)
queue_item(batch, item, delay)
return redis.call('HGET', batch_key(batch), 'status') == 'cancelling' and 2 or 1
