-- Stores a person's review of an item. If the results are written or being written, they are due again, as the next
-- revision. The outputs of a rejected item are not reused.
-- ARGV: batch, item, review (JSON; '' removes it).
-- Returns 1 if the results are due again, 0 if they are not written yet, -1 if there is no such item.
local batch, item, review = ARGV[1], ARGV[2], ARGV[3]
local key, reviews = batch_key(batch), reviews_key(batch)

-- A stored review that cannot be read was not counted under any mark that is known: the new one replaces it.
local function count_mark(json, number)
  local is_read, stored = pcall(cjson.decode, json)
  if not is_read or type(stored) ~= 'table' or type(stored.mark) ~= 'string' then return end
  redis.call('HINCRBY', key, 'marked:' .. stored.mark, number)
  if redis.call('HGET', item_key(batch, item), 'state') ~= 'succeeded' then count_early_reviews(batch, number) end
end

if redis.call('HEXISTS', specs_key(batch), item) == 0 then return -1 end
local old_review = redis.call('HGET', reviews, item)
if old_review then count_mark(old_review, -1) end
if review == '' then
  redis.call('HDEL', reviews, item)
else
  count_mark(review, 1)
  redis.call('HSET', reviews, item, review)
end
local finished, finalization_lease, rewrite, restoring = read_fields(key, 'finished', 'finisher', 'restate', 'restoring')
if restoring then return 0 end
record_bought(batch, item)
if not finished and not finalization_lease then return 0 end
if not rewrite then
  redis.call('HINCRBY', key, 'revision', 1)
  redis.call('HSET', key, 'restate', 1)
  redis.call('ZADD', OPEN_BATCHES, now_ms(), batch)
end
return 1
