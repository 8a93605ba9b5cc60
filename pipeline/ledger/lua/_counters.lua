-- Counters of the service and timelines of batches. LATENCY_BOUNDS_MS, TIMELINE_MAX_SLICES and TIMELINE_FIRST_STEP_MS come
-- from constants.py.
local function count(name) redis.call('HINCRBY', COUNTERS, name, 1) end

-- Count how long a step took in its histogram.
local function observe_duration(step, ms)
  local bucket = 1
  while LATENCY_BOUNDS_MS[bucket] and ms > LATENCY_BOUNDS_MS[bucket] do bucket = bucket + 1 end
  count(step .. ':' .. bucket)
  redis.call('HINCRBY', COUNTERS, step .. ':sum', ms)
end

-- Record how long a run of the batch's model takes: the mean of about its last RUN_TIME_RUNS successful runs.
local RUN_TIME_RUNS, RUN_TIME_LIFETIME_S = 20, 90 * 86400
local function observe_run_time(batch, ms)
  local is_read, config = pcall(cjson.decode, redis.call('HGET', batch_key(batch), 'plan') or '')
  if not is_read or type(config) ~= 'table' or type(config.model) ~= 'string' then return end
  local key = run_time_key(config.model:lower())
  local mean, runs = read_fields(key, 'mean', 'runs')
  runs, mean = math.min(tonumber(runs or 0) + 1, RUN_TIME_RUNS), tonumber(mean or ms)
  redis.call('HSET', key, 'mean', string.format('%.0f', mean + (ms - mean) / runs), 'runs', runs)
  redis.call('EXPIRE', key, RUN_TIME_LIFETIME_S)
end

-- Rewrite a timeline with slices of `new_step` ms; they were `old_step` ms long.
local function widen_slices(key, old_step, new_step)
  local fields = redis.call('HGETALL', key)
  redis.call('DEL', key)
  redis.call('HSET', key, 'step', new_step)
  for i = 1, #fields, 2 do
    local event, slice = fields[i]:match('^(%a+):(%d+)$')
    if event then
      redis.call('HINCRBY', key, event .. ':' .. math.floor(slice * old_step / new_step), fields[i + 1])
    end
  end
end

-- Count an event in the timeline of its batch. The slices double in length when the batch outgrows them.
local function count_in_timeline(batch, event)
  local key, now = timeline_key(batch), now_ms()
  local age = math.max(0, now - (redis.call('HGET', batch_key(batch), 'created') or now))
  local old_step = tonumber(redis.call('HGET', key, 'step') or TIMELINE_FIRST_STEP_MS)
  local step = old_step
  while age >= step * TIMELINE_MAX_SLICES do step = step * 2 end
  if step > old_step then widen_slices(key, old_step, step) end
  redis.call('HINCRBY', key, event .. ':' .. math.floor(age / step), 1)
end
