-- What time alone changes. Submissions whose lease ran out are lost runs, or simply go again where the run was not
-- written down and so never posted; lost runs that no callback brought back are held as unknown, or go again.
-- KEYS: prefix. ARGV: most items, ms to wait for a callback, 'hold' | 'resubmit', outcome of a held one (JSON).
-- Answers {lost, held, resubmitted, batches of held items {id …}}.
local now, lost, held, again, batches = now_ms(), 0, 0, 0, {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local batch, item = name:match('^(%S+) (%S+)$')
  redis.call('ZREM', P .. 'leases', name)
  local key = item_key(batch, item)
  local f = redis.call('HMGET', key, 'state', 'posting')
  if f[1] == 'submitting' and not f[2] then
    move(batch, item, 'submitting', 'pending')
    redis.call('HINCRBY', key, 'tries', -1)
    redis.call('HDEL', key, 'lease', 'rung')
    free_place(batch, item)
    queue_item(batch, item, 0)
    lost = lost + 1
  elseif f[1] == 'submitting' then
    move(batch, item, 'submitting', 'unknown')
    redis.call('HDEL', item_key(batch, item), 'lease')
    redis.call('ZADD', P .. 'adopt', now + ARGV[2], name)
    if redis.call('HEXISTS', item_key(batch, item), 'hint_task') == 1 then redis.call('ZADD', P .. 'due', now, name) end
    lost = lost + 1
  end
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'adopt', '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local batch, item = name:match('^(%S+) (%S+)$')
  local key = item_key(batch, item)
  redis.call('ZREM', P .. 'adopt', name)
  if redis.call('HGET', key, 'state') == 'unknown' and redis.call('ZSCORE', P .. 'due', name) then
    -- A callback has named its task: it is adopted as soon as the vendor can be asked.
    redis.call('ZADD', P .. 'adopt', now + ARGV[2], name)
  elseif redis.call('HGET', key, 'state') == 'unknown' then
    redis.call('HDEL', key, 'lease', 'rung')
    redis.call('ZREM', P .. 'due', name)
    free_place(batch, item)
    if ARGV[3] == 'resubmit' then
      move(batch, item, 'unknown', 'pending')
      queue_item(batch, item, 0)
      again = again + 1
    else
      redis.call('HSET', P .. 'batch:' .. batch .. ':ended', item, ARGV[4])
      redis.call('HINCRBY', batch_key(batch), 'open', -1)
      count('ended:unknown')
      lived(batch, 'unknown')
      held = held + 1
      batches[#batches + 1] = batch
    end
  end
end
return {lost, held, again, batches}
