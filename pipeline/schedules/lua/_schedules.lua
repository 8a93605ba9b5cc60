-- Keys, leases and records of schedules. pipeline/ledger/keys.py describes the keys.
local function schedule_key(name) return PREFIX .. 'schedule:' .. name end
local function waiting_key(name) return schedule_key(name) .. ':waiting' end
local function caught_up_key(name) return schedule_key(name) .. ':caught_up' end
local function attempts_key(name) return schedule_key(name) .. ':tries' end
local function open_batches_key(name) return schedule_key(name) .. ':open' end
local function records_key(name) return schedule_key(name) .. ':records' end

-- Return whether the caller holds the lease of a schedule and the occurrence waits.
local function holds_waiting(name, lease, occurrence)
  if redis.call('HGET', schedule_key(name), 'lease') ~= lease then return false end
  return redis.call('ZSCORE', waiting_key(name), occurrence) ~= false
end

-- Add a record (JSON), newest first. Consecutive skips for the same reason share one record.
local function add_record(name, json, max_records)
  local key = records_key(name)
  local record = cjson.decode(json)
  local newest_json = redis.call('LINDEX', key, 0)
  local is_read, newest = pcall(cjson.decode, newest_json or '')
  if is_read and record.did == 'skipped' and newest.did == 'skipped' and newest.why == record.why then
    newest.last = record.last
    newest.at = record.at
    redis.call('LSET', key, 0, cjson.encode(newest))
  else
    redis.call('LPUSH', key, json)
    redis.call('LTRIM', key, 0, max_records - 1)
  end
end
