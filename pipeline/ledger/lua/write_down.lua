-- Writes down that runs are about to be posted: from now on a lost answer makes them unknown. Doing it twice
-- changes nothing.
-- KEYS: prefix. ARGV: batch, item, attempt, lease token of each.
-- Answers 1 or 0 for each: whether it is still the caller's.
local ours = {}
for i = 1, #ARGV, 4 do
  local batch, item = ARGV[i], ARGV[i + 1]
  if holds(batch, item, 'submitting', ARGV[i + 2], ARGV[i + 3]) then
    redis.call('HSET', item_key(batch, item), 'posting', 1)
    ours[#ours + 1] = 1
  else
    ours[#ours + 1] = 0
  end
end
return ours
