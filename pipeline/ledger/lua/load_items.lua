-- Adds items to a batch, in manifest order. An item that exists stays as it is, so an interrupted load can be repeated.
-- ARGV: batch, digest of its manifest ('' for any), then item, spec (JSON), price of a run (pico-USD, '' for the price of
-- the batch) of each item.
-- Returns how many were new; -1 if the submission was cancelled, or replaced by one with another manifest.
local batch, digest = ARGV[1], ARGV[2]
if digest ~= '' and not is_submission_of(batch, digest) then return -1 end
local key, order, pending = batch_key(batch), order_key(batch), pending_key(batch)
local position = redis.call('LLEN', order)
local created = tonumber(redis.call('HGET', key, 'created'))
local added = 0
for _, row in ipairs(argv_rows(3, 'item', 'spec', 'price')) do
  if redis.call('HSETNX', specs_key(batch), row.item, row.spec) == 1 then
    redis.call('RPUSH', order, row.item)
    if row.price ~= '' then set_price(batch, row.item, row.price) end
    -- Items with the same due time keep the order of the manifest: each is one microsecond later.
    redis.call('ZADD', pending, string.format('%.3f', created + (position + added) / 1000), row.item)
    added = added + 1
  end
end
if added > 0 then
  redis.call('HINCRBY', key, 'n:pending', added)
  redis.call('HINCRBY', key, 'total', added)
  redis.call('HINCRBY', key, 'open', added)
end
return added
