-- Finds batches whose items are to leave Redis: those that ended long enough ago, and those that have not left completely.
-- One call looks at a part of all batches, from the oldest on; the next call goes on there.
-- ARGV: ms for which a batch is kept after its end (-1: forever), ms after which a restoration counts as interrupted, max
-- batches to look at.
-- Returns the ids.
local keep, restore_ms, max_batches = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()

local function is_due(batch)
  if not is_id(batch) then return false end
  local not_before, is_archiving, restoring, loaded =
    read_fields(batch_key(batch), 'archive_at', 'archiving', 'restoring', 'loaded')
  if tonumber(not_before or 0) > now then return false end
  if restoring then return now - restoring >= restore_ms end
  return is_archiving or (keep >= 0 and loaded and archivable_since(batch, now - keep))
end

local position = tonumber(redis.call('GET', RETENTION) or 0)
local members = redis.call('ZRANGE', BATCHES, position, position + max_batches - 1, 'WITHSCORES')
local found = {}
for i = 1, #members, 2 do
  -- A batch that cannot be read stays: pages set it aside.
  local is_read, is_found = pcall(is_due, members[i])
  if is_read and is_found then found[#found + 1] = members[i] end
end
local is_at_end = #members < 2 * max_batches or (keep >= 0 and tonumber(members[#members]) > now - keep)
if is_at_end then redis.call('DEL', RETENTION) else redis.call('SET', RETENTION, position + max_batches) end
return found
