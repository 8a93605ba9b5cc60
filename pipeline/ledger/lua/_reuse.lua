-- The index of outputs that were bought, for batches with `reuse`: digest of a run -> lines, one for each item that bought
-- it, the newest last. A line has four texts with tabs between them: the "batch/item" that bought the outputs, and where
-- they are. That is the "batch/item" in the ledger that has them, which is the first one or its newest copy; or the task and
-- the outcome (JSON) of a batch that is not in the ledger, as `reindex` reads it.
local function item_name(batch, item) return batch .. '/' .. item end

local function split_name(name) return name:match('^([^/]+)/([^/]+)$') end

local function parse_line(line) return line:match('^([^\t]+)\t([^\t]*)\t([^\t]*)\t(.*)$') end

local function read_lines(key)
  local lines = {}
  for line in (redis.call('HGET', REUSABLE, key) or ''):gmatch('[^\n]+') do lines[#lines + 1] = line end
  return lines
end

local function write_lines(key, lines)
  if #lines > 0 then
    redis.call('HSET', REUSABLE, key, table.concat(lines, '\n'))
  else
    redis.call('HDEL', REUSABLE, key)
    redis.call('ZREM', REUSABLE_ORDER, key)
  end
end

-- Split lines into those of `source`, and the others.
local function partition_lines(lines, source)
  local its, others = {}, {}
  for _, line in ipairs(lines) do
    local part = parse_line(line) == source and its or others
    part[#part + 1] = line
  end
  return its, others
end

local function has_source(key, source) return #partition_lines(read_lines(key), source) > 0 end

local function remove_source(key, source)
  local its, others = partition_lines(read_lines(key), source)
  if #its > 0 then write_lines(key, others) end
end

-- Add what an item bought, as the newest line of the digest.
local function add_line(key, source, place)
  local MAX_SOURCES = 8
  local _, lines = partition_lines(read_lines(key), source)
  lines[#lines + 1] = source .. '\t' .. place
  if #lines > MAX_SOURCES then table.remove(lines, 1) end
  write_lines(key, lines)
end

-- Add what an item bought that is not in the ledger. If there are too many of them, the oldest are removed.
local function add_stored(key, source, task, outcome, bought_at)
  local MAX_DIGESTS, MAX_LINE_CHARS = 100000, 16384
  if #outcome > MAX_LINE_CHARS or outcome:find('[\n\t]') or has_source(key, source) then return end
  add_line(key, source, '\t' .. task .. '\t' .. outcome)
  redis.call('ZADD', REUSABLE_ORDER, 'GT', bought_at, key)
  if redis.call('ZCARD', REUSABLE_ORDER) <= MAX_DIGESTS then return end
  local oldest, kept = redis.call('ZPOPMIN', REUSABLE_ORDER)[1], {}
  for _, line in ipairs(read_lines(oldest)) do
    local _, holder = parse_line(line)
    if holder ~= '' then kept[#kept + 1] = line end
  end
  write_lines(oldest, kept)
end

-- Return what a line is about: the item that bought it, task and outcome (JSON); nil if the outputs have left the ledger.
local function read_source(line)
  local source, holder, task, outcome = parse_line(line)
  local batch, item = split_name(holder or '')
  if batch then
    task, outcome = redis.call('HGET', item_key(batch, item), 'task'), redis.call('HGET', outcomes_key(batch), item)
  end
  if outcome and outcome ~= '' then return source, task or '', outcome end
end

local function is_rejected(batch, item)
  local review = redis.call('HGET', reviews_key(batch), item)
  local is_read, document = pcall(cjson.decode, review or '')
  return is_read and type(document) == 'table' and document.mark == 'rejected'
end

-- Record at an item in the ledger that one of its copies is rejected, or not any more.
local function mark_rejected_copy(source, copy, is_marked)
  local batch, item = split_name(source)
  if not batch then return end
  local key = item_key(batch, item)
  if is_marked then
    if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'rejected_copy', copy) end
  elseif redis.call('HGET', key, 'rejected_copy') == copy then
    redis.call('HDEL', key, 'rejected_copy')
  end
end

-- Return whether the outputs of an item in the ledger may be used again: neither it nor a copy of it is rejected.
local function is_reusable(name)
  local batch, item = split_name(name)
  if not batch or is_rejected(batch, item) then return false end
  local state, rejected_copy = read_fields(item_key(batch, item), 'state', 'rejected_copy')
  return state == 'succeeded' and not rejected_copy
end

-- Record in the index that an item has succeeded, or was reviewed. If a copy is rejected, the item that bought the outputs
-- leaves the index.
local function record_bought(batch, item)
  local state, key, source = read_fields(item_key(batch, item), 'state', 'key', 'reused_from')
  if state ~= 'succeeded' or not key or key == '' then return end
  local name, is_bad = item_name(batch, item), is_rejected(batch, item)
  if source then mark_rejected_copy(source, name, is_bad) end
  if is_bad then
    remove_source(key, source or name)
  elseif is_reusable(source or name) or (source and has_source(key, source)) then
    -- The newest copy: it leaves the ledger last.
    add_line(key, source or name, name .. '\t\t')
  end
end

-- Remove an item that leaves the ledger. If it is a copy, the item that bought the outputs may still be there.
local function remove_bought(batch, item)
  local key, source = read_fields(item_key(batch, item), 'key', 'reused_from')
  if not key or key == '' then return end
  local name = item_name(batch, item)
  for _, line in ipairs(read_lines(key)) do
    local bought, holder = parse_line(line)
    if holder == name then
      remove_source(key, bought)
      if source and is_reusable(source) then add_line(key, source, source .. '\t\t') end
      return
    end
  end
end

-- Count an item whose outputs were reused. Returns whether it is one.
local function count_reused(batch, item)
  if redis.call('HEXISTS', item_key(batch, item), 'reused_from') == 0 then return false end
  redis.call('HDEL', item_key(batch, item), 'source')
  redis.call('HINCRBY', batch_key(batch), 'reused', 1)
  return true
end
