-- Batches as a whole.

-- Run a batch again if it has ended or its results are being written. Its next results are the next revision.
-- `stop_reason`: why it was stopped, if that still holds; then it is being cancelled.
local function reopen_batch(batch, stop_reason)
  local key = batch_key(batch)
  local finished, finalization_lease = read_fields(key, 'finished', 'finisher')
  if not finished and not finalization_lease then return end
  redis.call('HINCRBY', key, 'revision', 1)
  if finished then
    -- The pause since the end is not a part of the batch's duration.
    local now = now_ms()
    redis.call('HINCRBY', key, 'idle', math.max(0, now - finished))
    redis.call('HSET', key, 'reopened', now)
  end
  redis.call('HDEL', key, 'finished', 'reason', 'finisher', 'finish_until', 'restate')
  redis.call('HSET', key, 'status', stop_reason and 'cancelling' or 'running')
  if stop_reason then redis.call('HSET', key, 'reason', stop_reason) end
  redis.call('ZADD', OPEN_BATCHES, now_ms(), batch)
end
