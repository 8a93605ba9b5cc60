-- Makes an item pending whose outputs were to be copied from an item that lost them; that one leaves the index.
-- ARGV: batch, item, attempt, lease.
-- Returns 1; 2 if its batch is being cancelled, so that the item must end; 0 if the caller does not hold the item.
local batch, item, attempt, lease = unpack(ARGV)
local key = item_key(batch, item)
local digest, source = read_fields(key, 'key', 'reused_from')
if not source or not holds_lease(batch, item, 'collecting', attempt, lease) then return 0 end
remove_source(digest or '', source)
redis.call('HDEL', reused_key(batch), source)
redis.call('HDEL', key, 'lease', 'rung', 'task', 'reused_from', 'source')
redis.call('ZREM', DUE, member_of(batch, item))
change_state(batch, item, 'collecting', 'pending')
queue_item(batch, item, 0)
return redis.call('HGET', batch_key(batch), 'status') == 'cancelling' and 2 or 1
