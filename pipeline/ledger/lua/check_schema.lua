-- Records the version of the stored data if it is compatible with this program.
-- ARGV: current version, oldest compatible version, version of data without a recorded version.
-- Returns the version that the data had, as text.
local current, oldest, unversioned = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local found = redis.call('GET', SCHEMA) or unversioned
local version = found:match('^%d+$') and tonumber(found)
if version and version >= oldest and version < current then redis.call('SET', SCHEMA, current) end
return found
