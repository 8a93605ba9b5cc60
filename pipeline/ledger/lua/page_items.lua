-- Finds the items of one page, in manifest order, with bounded work.
-- KEYS: prefix. ARGV: batch, first position, most items to look at, most to answer, text in id or spec ('' for any;
-- lower case, as JSON has it), verdict ('' for any, 'none' for what has succeeded and nobody has judged), then the
-- states to answer (none: any).
-- Answers {position of the next page or -1 at the end, {item id …}}.
local batch, first, most, limit, text = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local base = P .. 'batch:' .. batch
local states = {}
for i = 7, #ARGV do states[ARGV[i]] = true end
local any, mark = #ARGV < 7, ARGV[6]

local function is_marked(item)
  local review = redis.call('HGET', base .. ':reviews', item)
  if mark == 'none' then return not review and redis.call('HGET', item_key(batch, item), 'state') == 'succeeded' end
  return review and cjson.decode(review).mark == mark
end

local function wanted(item)
  if not any and not states[redis.call('HGET', item_key(batch, item), 'state') or 'pending'] then return false end
  if mark ~= '' and not is_marked(item) then return false end
  if text == '' or item:lower():find(text, 1, true) then return true end
  return (redis.call('HGET', base .. ':specs', item) or ''):lower():find(text, 1, true) ~= nil
end

local CHUNK = 500
local found, position, last = {}, first, first + most
while position < last do
  local items = redis.call('LRANGE', base .. ':order', position, position + CHUNK - 1)
  for _, item in ipairs(items) do
    if #found == limit then return {position, found} end
    position = position + 1
    if wanted(item) then found[#found + 1] = item end
  end
  if #items < CHUNK then return {-1, found} end
end
return {position, found}
