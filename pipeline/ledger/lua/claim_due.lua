-- Claims runs that are to be looked at: rung, to be polled, or left by a worker whose lease ran out.
-- KEYS: prefix. ARGV: most items, lease (ms), lease token.
-- Answers {ms until the next one is due or -1, claimed {{batch, item, batch status, state, attempt,
-- tries, task, token, posted (ms), looks, copies, hint task, hint token, server's time (ms)} …}}.
local now, lease_ms = now_ms(), tonumber(ARGV[2])
local claimed = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local batch, item = name:match('^(%S+) (%S+)$')
  local key = item_key(batch, item)
  local f = redis.call('HMGET', key, 'state', 'attempt', 'tries', 'task', 'token', 'posted', 'looks', 'copies',
                       'hint_task', 'hint_token')
  if f[1] == 'running' or f[1] == 'collecting' or f[1] == 'unknown' then
    redis.call('HSET', key, 'lease', ARGV[3])
    redis.call('HDEL', key, 'rung')
    redis.call('ZADD', P .. 'due', now + lease_ms, name)
    claimed[#claimed + 1] = {batch, item, redis.call('HGET', batch_key(batch), 'status') or '', f[1], f[2], f[3],
      f[4] or '', f[5] or '', f[6], f[7] or '0', f[8] or '0', f[9] or '', f[10] or '', tostring(now)}
  else
    redis.call('ZREM', P .. 'due', name)
  end
end
local first = redis.call('ZRANGE', P .. 'due', 0, 0, 'WITHSCORES')
return {#first == 0 and -1 or math.max(0, math.ceil(tonumber(first[2]) - now)), claimed}
