-- The index of outputs that were bought, for batches with `reuse`: digest of a run -> lines, one for each item that bought
-- it, the newest last. A line is "batch/item", the task and the outcome (JSON), with tabs between them.
local function source_name(batch, item) return batch .. '/' .. item end

local function parse_source(line) return line:match('^([^\t]+)\t([^\t]*)\t(.+)$') end

local function read_sources(key)
  local lines = {}
  for line in (redis.call('HGET', REUSABLE, key) or ''):gmatch('[^\n]+') do lines[#lines + 1] = line end
  return lines
end

local function write_sources(key, lines)
  if #lines > 0 then
    redis.call('HSET', REUSABLE, key, table.concat(lines, '\n'))
  else
    redis.call('HDEL', REUSABLE, key)
    redis.call('ZREM', REUSABLE_ORDER, key)
  end
end

-- Remove an item from the index. Returns the lines that are left.
local function remove_source(key, source)
  local left = {}
  for _, line in ipairs(read_sources(key)) do
    if parse_source(line) ~= source then left[#left + 1] = line end
  end
  write_sources(key, left)
  return left
end

-- Add an item to the index. If the index is full, the oldest are removed.
local function add_source(key, source, task, outcome, bought_at)
  local MAX_DIGESTS, MAX_SOURCES, MAX_LINE_CHARS = 100000, 8, 16384
  local lines, line = remove_source(key, source), source .. '\t' .. task .. '\t' .. outcome
  if #line > MAX_LINE_CHARS or outcome:find('[\n\t]') then return end
  lines[#lines + 1] = line
  if #lines > MAX_SOURCES then table.remove(lines, 1) end
  write_sources(key, lines)
  redis.call('ZADD', REUSABLE_ORDER, 'GT', bought_at, key)
  if redis.call('ZCARD', REUSABLE_ORDER) > MAX_DIGESTS then
    redis.call('HDEL', REUSABLE, redis.call('ZPOPMIN', REUSABLE_ORDER)[1])
  end
end

local function is_rejected(batch, item)
  local review = redis.call('HGET', reviews_key(batch), item)
  local is_read, document = pcall(cjson.decode, review or '')
  return is_read and type(document) == 'table' and document.mark == 'rejected'
end

-- Add an item that has succeeded to the index, or remove it if it is rejected. A copy stands for the item that it was
-- copied from: a rejected copy means that these outputs are not to be used again.
local function record_bought(batch, item)
  local state, key, task, reused_from = read_fields(item_key(batch, item), 'state', 'key', 'task', 'reused_from')
  if state ~= 'succeeded' or not key or key == '' then return end
  local source = reused_from or source_name(batch, item)
  if is_rejected(batch, item) then
    remove_source(key, source)
    return
  end
  local outcome = redis.call('HGET', outcomes_key(batch), item)
  if reused_from then
    local owner, original = reused_from:match('^([^/]+)/([^/]+)$')
    if not owner or is_rejected(owner, original) then return end
    -- If the original was dropped from Redis, its outputs are named by the copy, which has the same bytes.
    outcome = redis.call('HGET', outcomes_key(owner), original) or outcome
  end
  if outcome then add_source(key, source, task or '', outcome, now_ms()) end
end

-- Count an item whose outputs were reused. Returns whether it is one.
local function count_reused(batch, item)
  if redis.call('HEXISTS', item_key(batch, item), 'reused_from') == 0 then return false end
  redis.call('HDEL', item_key(batch, item), 'source')
  redis.call('HINCRBY', batch_key(batch), 'reused', 1)
  return true
end
