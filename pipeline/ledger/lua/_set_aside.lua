-- Members of queues that cannot be read: they are removed from their queue, so that the others go on. The newest are kept
-- in SET_ASIDE. What is read from Redis may have been written by another program, or from S3 by an earlier version.

-- Return text in printable ASCII, of bounded length: every client can decode it.
local function printable(text)
  local MAX_CHARS = 200
  return (tostring(text):sub(1, MAX_CHARS):gsub('[^\32-\126]', '?'))
end

-- Remove a member from its queue and record it. A run of it leaves its slot. A list keeps its members: it is the order of
-- a batch.
local function set_aside(queue, member, reason)
  local MAX_KEPT = 1000
  local REMOVE = {set = 'SREM', zset = 'ZREM'}
  local batch, item = parse_member(member)
  if not (item and pcall(release_slot, batch, item)) then redis.pcall('SREM', ACTIVE, member) end
  local remove = REMOVE[redis.call('TYPE', queue).ok]
  if remove then redis.call(remove, queue, member) end
  local record = {queue = printable(queue:sub(#PREFIX + 1)), member = printable(member), reason = printable(reason),
                  at = now_ms()}
  redis.call('LPUSH', SET_ASIDE, cjson.encode(record))
  redis.call('LTRIM', SET_ASIDE, 0, MAX_KEPT - 1)
  count('set_aside')
end

-- Whether the server refused a command, as it would for every other member: its memory is full, it is a replica, or the
-- user may not run the command. `WRONGTYPE` and `ERR` are replies to what is stored, or to a mistake.
local function is_refusal(text)
  local code = text:match('^%-?(%u+) ')
  return code and code ~= 'ERR' and code ~= 'WRONGTYPE' or text:find('ACL failure in script', 1, true)
    or text:find('access a non local key', 1, true)
end

-- Run `work(...)`. Returns true and up to two values, or false and why it failed. Raises what the server refuses: nothing
-- is wrong with the member.
local function try(work, ...)
  local is_done, first, second = pcall(work, ...)
  if is_done then return true, first, second end
  local reason = tostring(type(first) == 'table' and first.err or first)
  if is_refusal(reason) then error(first, 0) end
  return false, reason
end

-- Return what `work(...)` returns, up to two values. If it fails, set the member aside and return nil.
local function try_member(queue, member, work, ...)
  local is_done, first, second = try(work, ...)
  if is_done then return first, second end
  set_aside(queue, member, first)
end

-- As `try_member`, for a member that stands for an item: `work(batch, item)`.
local function try_run(queue, member, work)
  local batch, item = parse_member(member)
  if item then return try_member(queue, member, work, batch, item) end
  set_aside(queue, member, 'It is not "batch item".')
end

-- As `try_member`, for a member that is the id of a batch: `work(batch)`.
local function try_batch(queue, batch, work)
  if is_id(batch) then return try_member(queue, batch, work, batch) end
  set_aside(queue, batch, 'It is not the id of a batch.')
end
