-- Finds the items of one page, in manifest order. The work is bounded.
-- ARGV: batch, first position, max items to scan, max items to return, text in id or spec ('' for any; lower case, as
-- it stands in JSON), mark ('' for any, 'none' for succeeded items without a review), '1' to pass over a take whose first
-- take is found as well ('' to return it), then states (none for any).
-- Max items 0: the items are only counted. Returns {position of the next page or -1 at the end, {item id …}, how many
-- items matched}.
local batch, first, max_scanned = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_items, text, mark, is_grouped = tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7] == '1'
local states, is_any_state = argv_set(8), #ARGV < 8
local CHUNK = 500

local function has_state(item)
  return is_any_state or states[redis.call('HGET', item_key(batch, item), 'state') or 'pending']
end

local function has_mark(item)
  if mark == '' then return true end
  local review = redis.call('HGET', reviews_key(batch), item)
  if mark == 'none' then return not review and redis.call('HGET', item_key(batch, item), 'state') == 'succeeded' end
  return review and cjson.decode(review).mark == mark
end

local function has_text(item)
  if text == '' or item:lower():find(text, 1, true) then return true end
  return (redis.call('HGET', specs_key(batch), item) or ''):lower():find(text, 1, true)
end

local function is_found(item) return has_state(item) and has_mark(item) and has_text(item) end

local function is_with_first_take(item)
  local first = is_grouped and redis.call('HGET', item_key(batch, item), 'first')
  return first and is_found(first)
end

-- An item that cannot be read is shown as such.
local function matches(item)
  local is_read, is_match = pcall(function() return is_found(item) and not is_with_first_take(item) end)
  return not is_read or is_match
end

local found, matched, position = {}, 0, first
while position < first + max_scanned do
  local items = redis.call('LRANGE', order_key(batch), position, position + CHUNK - 1)
  for _, item in ipairs(items) do
    if matches(item) then
      if max_items > 0 and #found == max_items then return {position, found, matched} end
      matched = matched + 1
      if max_items > 0 then found[#found + 1] = item end
    end
    position = position + 1
  end
  if #items < CHUNK then return {-1, found, matched} end
end
return {position, found, matched}
