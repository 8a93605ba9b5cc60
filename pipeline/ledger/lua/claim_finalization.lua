-- Leases the writing of a batch's results: all items have ended, or the results have changed since.
-- ARGV: batch, lease (ms), lease token.
-- Returns 1 if the caller is to write them, else 0.
local batch, lease_ms, lease = ARGV[1], ARGV[2], ARGV[3]
local key, now = batch_key(batch), now_ms()
local open_items, loaded, finished, leased_until, rewrite =
  read_fields(key, 'open', 'loaded', 'finished', 'finish_until', 'restate')
if open_items ~= '0' or not loaded or (finished and not rewrite) then return 0 end
if leased_until and tonumber(leased_until) > now then return 0 end
redis.call('HSET', key, 'finisher', lease, 'finish_until', now + lease_ms)
return 1
