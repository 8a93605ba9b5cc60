-- Ends a batch: its results are on S3.
-- ARGV: batch, lease token, status, finished (ms), revision that was written, 1 to send a notification, else 0.
-- Returns 1; 0 if the lease was lost or items are open again; 2 if the written results are outdated and due again.
local batch, lease, status, finished, revision, notify = unpack(ARGV)
local key = batch_key(batch)
local held_lease, open_items, current_revision, old_status =
  read_fields(key, 'finisher', 'open', 'revision', 'status')
if held_lease ~= lease or open_items ~= '0' then return 0 end
-- The reason for a pause does not matter any more; the reason for a stop does.
if old_status == 'paused' then redis.call('HDEL', key, 'reason') end
redis.call('HSET', key, 'status', status)
if redis.call('HSETNX', key, 'finished', finished) == 1 and notify == '1' then
  redis.call('HSET', key, 'notice', revision, 'notice_tries', 0)
  redis.call('ZADD', DELIVERIES, now_ms(), batch)
end
redis.call('HDEL', key, 'finisher', 'finish_until')
redis.call('ZREM', FAIRNESS_QUEUE, batch)
if current_revision ~= revision then
  redis.call('HSET', key, 'restate', 1)
  return 2
end
redis.call('HDEL', key, 'restate')
redis.call('ZREM', OPEN_BATCHES, batch)
return 1
