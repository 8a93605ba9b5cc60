-- Lets ended items go again, some at a time. What was bought is kept: an item whose run succeeded and is paid
-- goes back to collecting, any other waits for a new run.
-- KEYS: prefix. ARGV: batch, first, last position in manifest order, state, state …
-- Answers {items looked at, items reopened}.
local batch, reopened = ARGV[1], 0
local base = P .. 'batch:' .. batch
local wanted = {}
for i = 4, #ARGV do wanted[ARGV[i]] = true end
local items = redis.call('LRANGE', base .. ':order', ARGV[2], ARGV[3])
for _, item in ipairs(items) do
  local key = item_key(batch, item)
  local f = redis.call('HMGET', key, 'state', 'paid')
  if f[1] and wanted[f[1]] and redis.call('HDEL', base .. ':ended', item) == 1 then
    redis.call('HDEL', key, 'lease', 'rung', 'looks', 'copies', 'refusals')
    redis.call('HINCRBY', base, 'open', 1)
    reopened = reopened + 1
    if f[2] and f[1] == 'failed' then
      move(batch, item, f[1], 'collecting')
      redis.call('ZADD', P .. 'due', now_ms(), member(batch, item))
    else
      redis.call('HINCRBY', key, 'before', redis.call('HGET', key, 'tries') or 0)
      redis.call('HSET', key, 'tries', 0)
      move(batch, item, f[1], 'pending')
      queue_item(batch, item, 0)
    end
  end
end
if reopened > 0 then reopen_batch(batch) end
return {#items, reopened}
