-- Keys of the ledger; pipeline/ledger/keys.py describes them. Some keep an older name for the sake of stored data.
local ACCOUNT = PREFIX .. 'account'
local ACTIVE = PREFIX .. 'active'
local ADOPT = PREFIX .. 'adopt'
local BATCHES = PREFIX .. 'batches'
local COUNTERS = PREFIX .. 'figures'
local DELIVERIES = PREFIX .. 'notices'
local DUE = PREFIX .. 'due'
local FAIRNESS_QUEUE = PREFIX .. 'turn'
local LEASES = PREFIX .. 'leases'
local LOST = PREFIX .. 'lost'
local OPEN_BATCHES = PREFIX .. 'open'
local PREVIEWS = PREFIX .. 'previews'
local RETENTION = PREFIX .. 'retention'
local REUSABLE = PREFIX .. 'reuse'
local REUSABLE_ORDER = PREFIX .. 'reuse_order'
local SCHEMA = PREFIX .. 'schema'
local SEARCH = PREFIX .. 'search'
local SEARCH_LEASE = PREFIX .. 'search_lease'
local SET_ASIDE = PREFIX .. 'set_aside'
local SPEND = PREFIX .. 'spend'
local TASKS = PREFIX .. 'tasks'
local COLLECT_ENQUEUED = PREFIX .. 'wake:collect'

local function order_key(batch) return batch_key(batch) .. ':order' end
local function specs_key(batch) return batch_key(batch) .. ':specs' end
local function prices_key(batch) return batch_key(batch) .. ':prices' end
local function pending_key(batch) return batch_key(batch) .. ':pending' end
local function outcomes_key(batch) return batch_key(batch) .. ':ended' end
local function causes_key(batch) return batch_key(batch) .. ':causes' end
local function reviews_key(batch) return batch_key(batch) .. ':reviews' end
local function timeline_key(batch) return batch_key(batch) .. ':life' end
local function run_time_key(model) return PREFIX .. 'run_time:' .. model end
local function previews_key(batch) return batch_key(batch) .. ':previews' end
local function shared_images_key(batch) return batch_key(batch) .. ':uploads' end
local function batch_objects_key(batch) return batch_key(batch) .. ':drops' end
local function share_links_key(batch) return batch_key(batch) .. ':shares' end
local function status_files_written_key(batch) return batch_key(batch) .. ':told' end
local function reused_key(batch) return batch_key(batch) .. ':reused' end
local function item_key(batch, item) return PREFIX .. 'item:' .. batch .. ':' .. item end

-- The member of DUE, LEASES, ADOPT and ACTIVE that stands for an item.
local function member_of(batch, item) return batch .. ' ' .. item end

-- The field of `previews_key` that counts the attempts of a request.
local function attempts_field(item) return 'attempts ' .. item end

-- Return whether text can be the id of a batch or an item: the rule of pipeline/domain/ids.py.
local function is_id(text)
  return #text <= 128 and text:find('^[A-Za-z0-9][A-Za-z0-9._-]*$') and not text:find('..', 1, true)
end

-- Return the batch and the item of such a member; nil if it is not one.
local function parse_member(member)
  local batch, item = member:match('^(%S+) (%S+)$')
  if batch and is_id(batch) and is_id(item) then return batch, item end
end
