-- Stores a person's review of an item. If the results are written or being written, they are due again, as the next
-- revision. The outputs of a rejected item are not reused.
-- ARGV: batch, item, review (JSON; '' removes it).
-- Returns 1 if the results are due again, 0 if they are not written yet, -1 if there is no such item.
local batch, item, review = ARGV[1], ARGV[2], ARGV[3]
local key, reviews = batch_key(batch), reviews_key(batch)

if redis.call('HEXISTS', specs_key(batch), item) == 0 then return -1 end
local old_review = redis.call('HGET', reviews, item)
if old_review then count_review(batch, item, old_review, -1) end
if review == '' then
  redis.call('HDEL', reviews, item)
else
  count_review(batch, item, review, 1)
  redis.call('HSET', reviews, item, review)
end
record_bought(batch, item)
local finished, finalization_lease, rewrite = read_fields(key, 'finished', 'finisher', 'restate')
if not finished and not finalization_lease then return 0 end
if not rewrite then
  redis.call('HINCRBY', key, 'revision', 1)
  redis.call('HSET', key, 'restate', 1)
  redis.call('ZADD', OPEN_BATCHES, now_ms(), batch)
end
return 1
