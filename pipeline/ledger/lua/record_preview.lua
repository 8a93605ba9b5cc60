-- Records that a preview is on S3, or that its file has none.
-- ARGV: batch, name, 1 or 0.
local batch, name, made = unpack(ARGV)
local created, archived = read_fields(batch_key(batch), 'created', 'archived')
if created and not archived then redis.call('HSET', previews_key(batch), name, made) end
return 1
