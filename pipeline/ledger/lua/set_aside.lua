-- Sets members of a queue aside that cannot be read.
-- ARGV: key of the queue, then member, reason of each.
-- Returns 1.
for _, row in ipairs(argv_rows(2, 'member', 'reason')) do set_aside(ARGV[1], row.member, row.reason) end
return 1
