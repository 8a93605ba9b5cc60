-- Claims batches whose `notify` address is to be told.
-- KEYS: prefix. ARGV: most, lease (ms).
-- Answers {ms until the next one is due or -1, claimed {{batch, revision, tries} …}}.
local now, claimed = now_ms(), {}
for _, batch in ipairs(redis.call('ZRANGEBYSCORE', P .. 'notices', '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local revision = redis.call('HGET', batch_key(batch), 'notice')
  if revision then
    redis.call('ZADD', P .. 'notices', now + ARGV[2], batch)
    claimed[#claimed + 1] = {batch, revision, redis.call('HINCRBY', batch_key(batch), 'notice_tries', 1)}
  else
    redis.call('ZREM', P .. 'notices', batch)
  end
end
local first = redis.call('ZRANGE', P .. 'notices', 0, 0, 'WITHSCORES')
return {#first == 0 and -1 or math.max(0, math.ceil(tonumber(first[2]) - now)), claimed}
