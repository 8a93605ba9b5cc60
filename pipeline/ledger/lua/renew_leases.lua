-- Renews leases.
-- ARGV: lease (ms), then batch, item, lease token of each.
-- Returns 1 or 0 for each: whether the caller still holds it.
local lease_ms, now, held = ARGV[1], now_ms(), {}
for i, claim in ipairs(argv_rows(2, 'batch', 'item', 'lease')) do
  local is_read, lease, state = pcall(read_fields, item_key(claim.batch, claim.item), 'lease', 'state')
  held[i] = 0
  if is_read and lease == claim.lease then
    local queue = state == 'submitting' and LEASES or DUE
    redis.call('ZADD', queue, 'XX', now + lease_ms, member_of(claim.batch, claim.item))
    held[i] = 1
  end
end
return held
