-- Reduces an ended batch to its row; its items are dropped next. S3 has everything else.
-- ARGV: batch, revision of the results on S3, the newest time at which it may have ended (ms), 1 if its interrupted
-- restoration is undone (else 0), then field, value of the row's fields that are written anew.
-- Returns the time of the archiving (ms, text), which identifies it; '' if the batch changed meanwhile.
local batch, revision, ended_before, is_undone = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local key = batch_key(batch)
local KEPT = {name = 1, status = 1, output = 1, trigger = 1, revision = 1, created = 1, finished = 1, asked = 1,
              accepted = 1, idle = 1, reopened = 1, takes = 1, reused = 1}
local found_revision, restoring = read_fields(key, 'revision', 'restoring')
local is_ready = is_undone and restoring or archivable_since(batch, ended_before)
if found_revision ~= revision or not is_ready then return '' end

local fields, row = redis.call('HGETALL', key), {}
for i = 1, #fields, 2 do
  if KEPT[fields[i]] or fields[i]:find('^found:') then
    row[#row + 1] = fields[i]
    row[#row + 1] = fields[i + 1]
  end
end
local archived = string.format('%.0f', now_ms())
redis.call('DEL', key)
redis.call('HSET', key, 'archived', archived, 'archiving', 1, 'loaded', 1, 'open', 0, unpack(row))
redis.call('HSET', key, unpack(ARGV, 5))
for _, queue in ipairs({OPEN_BATCHES, FAIRNESS_QUEUE}) do redis.call('ZREM', queue, batch) end
redis.call('ZREM', PREVIEWS, member_of(batch, ''))
return archived
