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

-- Return whether a batch has this digest of its manifest ('': whatever it has), and was not cancelled before it was accepted.
local function is_submission_of(batch, digest)
  local asked, accepted, status = read_fields(batch_key(batch), 'asked', 'accepted', 'status')
  if not status or (digest ~= '' and asked ~= digest) then return false end
  return accepted or status ~= 'cancelled'
end

-- Remove what a submission stores before the batch is accepted, but for the batch itself. None of its items can have a run.
local function drop_submission(batch)
  redis.call('DEL', order_key(batch), specs_key(batch), prices_key(batch), pending_key(batch), shared_images_key(batch))
  redis.call('ZREM', OPEN_BATCHES, batch)
end

-- Return whether a batch ended before `ended_before` (ms) and waits for nothing: no results, no notification.
local function archivable_since(batch, ended_before)
  local key = batch_key(batch)
  local finished, restored, open, loaded, accepted = read_fields(key, 'finished', 'restored', 'open', 'loaded', 'accepted')
  local archived, finalization_lease, rewrite = read_fields(key, 'archived', 'finisher', 'restate')
  -- Of a submission that was cancelled, nothing was loaded.
  local is_loading = accepted and not loaded
  if archived or finalization_lease or rewrite or not finished or is_loading or open ~= '0' then return false end
  if redis.call('ZSCORE', DELIVERIES, batch) then return false end
  return math.max(tonumber(finished), tonumber(restored or 0)) <= ended_before
end

-- Return the keys of a batch, without its hash and those of its items.
local function parts_of(batch)
  return {order_key(batch), specs_key(batch), prices_key(batch), pending_key(batch), outcomes_key(batch),
          causes_key(batch), reviews_key(batch), timeline_key(batch), previews_key(batch), shared_images_key(batch),
          batch_objects_key(batch), share_links_key(batch), status_files_written_key(batch), reused_key(batch)}
end
