-- Sets members of a queue aside that cannot be read.
-- ARGV: key of the queue, then member, reason of each.
-- Returns 1.
for _, row in ipairs(argv_rows(2, 'member', 'reason')) do
  set_aside(ARGV[1], row.member, row.reason)
  if redis.call('TYPE', ARGV[1]).ok == 'hash' then redis.call('HDEL', ARGV[1], row.member) end
end
return 1
