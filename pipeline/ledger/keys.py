"""The names of all Redis keys of the service. Pure. `lua/_keys.lua` builds the same keys for the scripts.

All keys begin with `dailies:`. Times are milliseconds of the Redis server's clock, money is in pico-USD (10^-12 USD).
Some keys and fields keep the name of an earlier version, so that stored data stays readable.

Service

    schema                  string  version of the stored data (`schema_version.py`); absent: 1
    writable                string  /readyz and `doctor` write it to test whether the server takes writes; it expires
    figures                 hash    counters for /metrics (`counters.py`)
    set_aside               list    JSON {queue, member, reason, at} of members of queues that cannot be read; the
                                    newest 1,000 (`set_aside.py`)
    listener                string  a listener runs `triggers.yaml`; it expires a minute after the last one stopped
    live_check:{id}         list    number of refusals, then JSON of the callbacks of a check of `doctor`
    login_attempts:{hash}   string  wrong tokens in the current minute: of an address, or this token from anywhere
    session:{digest}        string  mark of the token that signed a browser in
    sign_in_code:{digest}   string  mark of the token that a one-time code signs in for
    model:{owner}/{name}    string  JSON of the vendor's description of a model (`model_cache.py`), in lower case
    run_time:{owner}/{name}  hash   `mean` time of a successful run of a model, in lower case, over the last `runs`
    retention               string  position in `batches` where the search for batches to archive goes on
    reuse                   hash    digest of a run (`batches/reuse_keys.py`) → lines of the items that bought it, 8 at
                                    most: the index for `reuse: true` (`lua/_reuse.lua`). A line names an item that is
                                    in the ledger, or has the outcome of one that `reindex` found on S3
    reuse_order             zset    digest of a line that `reindex` added → when its results were written; the newest
                                    100,000
    wake:{job}[:{arg}…]     string  a job is enqueued and has not begun (`batches/job_queue.py`)

Account at the vendor

    account                 hash    `window` (concurrency limit), `paused` (reason), `probe_at`, `probe_wait`,
                                    `probing` (lease of the probe), `backoff_until`, `backoff_tries` (backoffs in a
                                    row), `trouble` (reason of the backoff), `accepted_at` (the last run that the vendor
                                    accepted; absent during a pause), `day_limit` (the ceiling of a UTC day at the last
                                    claim, 0: none), `day_wait` (until when runs wait for it)
    active                  set     "batch item" of every run that may be active at the vendor: one slot each
    spend                   hash    day since 1970 → cost of the runs of that day; of the last 400 days. Day 0 has the
                                    sum of all earlier ones
    tasks                   zset    task of a run that the vendor accepted → when; the newest 20,000 of the last week

Batches

    batches                 zset    batch id → created
    open                    zset    batch id → since when; batches whose results are not written
    turn                    zset    batch id → last served: the fairness queue of batches with pending items
    notices                 zset    batch id → when its notification is due: the outbox
    previews                zset    "batch item" → when its previews are due, or the lease of the request ends; "batch "
                                    for a search of the whole batch
    batch:{id}              hash    name, status, reason, output, trigger, revision, created, finished, `plan` (JSON of
                                    BatchConfig), `asked` (digest of the manifest; '' of a recovered
                                    batch), `submitted` (last attempt to submit it), accepted, loaded, `expected` and
                                    `total` (items), `open` (items that have not ended), `n:{state}`, `marked:{mark}`,
                                    `marked_early` (reviewed items that have not succeeded),
                                    max_active, active, budget, cost, reserved, price, `tolerated` (failures),
                                    `finisher` and `finish_until` (lease for writing the results), `restate` (write
                                    them again), `notice` (revision to notify about), `notice_tries`, `defaults`
                                    (JSON of the model's defaults), `reused` (items whose outputs were reused),
                                    `overrun` (how much the vendor charged at most above the price of an item),
                                    `overcharge` (the last warning about a charge), `found:{how}` (lost runs that were
                                    found), `price_max` (highest price of an item), `takes` (further takes of items),
                                    `idle` (time for which it had ended before it was opened again), `reopened` (when
                                    it was), `archived` (when its items left Redis; then only this hash is left of it),
                                    `archiving` (they are leaving), `forgotten` (this hash is to leave, too),
                                    `archive_at` (the next try, after a failed one), `restoring` (since when its items
                                    are loaded again), `restored` (when they were)
    batch:{id}:order        list    item ids in manifest order
    batch:{id}:specs        hash    item id → JSON {image, prompt, params}
    batch:{id}:prices       hash    item id → price of a run; an item without one has the price of the batch
    batch:{id}:pending      zset    item id → due
    batch:{id}:ended        hash    item id → JSON of the outcome
    batch:{id}:causes       hash    cause of failures → number of failed items; at most 100 causes
    batch:{id}:reviews      hash    item id → JSON {mark, note}
    batch:{id}:life         hash    timeline (`timeline.py`)
    batch:{id}:previews     hash    name of a preview → 1 if it is on S3, 0 if the file has none; `attempts {item}` of
                                    a request
    batch:{id}:uploads      hash    image that several items share → its URL at the vendor, '' before the upload
                                    `etag {image}`: its ETag at the upload
    batch:{id}:reused       hash    "batch/item" whose outputs were reused → the item of this batch that has them
    batch:{id}:drops        hash    digest → JSON of the object versions that a trigger started the batch for
    batch:{id}:shares       hash    id of a share link → JSON {approved, who, expires} (`share_links.py`)
    batch:{id}:told         string  the status files of these objects record that the batch was accepted

Items and their runs

    item:{batch}:{item}     hash    state, attempt (number of the run), `tries` (attempts spent), `before` (attempts
                                    spent before a retry), refusals, lease, `posting` (marked before the request),
                                    posted, task, token, `rung` (a callback came while the item was leased),
                                    `hint_task` and `hint_token` (what a callback or the search named), `hint_by` (which
                                    of them), `found_by` (the same, of an adopted run), `searches` and `search_until`
                                    (of an unknown run), `searched` (attempt that a whole list of tasks lacks),
                                    `looks` (failed polls in a row), `faults` (polls without a usable answer in a
                                    row), `copies` (failed copies), reserved, paid (USD text: the run that
                                    succeeded), `charged` (runs that did not), `key` (digest of the run), `reused_from`
                                    ("batch/item" whose outputs it has), `source` (their outcome, until they are
                                    copied), `rejected_copy` ("batch/item" of a copy that was rejected), `paid_at`,
                                    `takes` (ids of its other takes, with blanks between them), `first` (of a take: the
                                    item whose `takes` names it)
    due                     zset    "batch item" → when the run is due for a poll or a copy, or its lease ends
    leases                  zset    "batch item" → when the lease of a submission ends
    adopt                   zset    "batch item" → until when an unknown run may be found
    lost                    set     "batch item" of every unknown run
    search                  zset    "batch item" → when an unknown run is searched for in the vendor's list of tasks
    search_lease            string  a process searches
    task_list_problem       string  why the last search could not read the vendor's list as a whole; kept for a day

Schedules

    schedules               hash    `text` (last valid schedules.yaml), `trouble` (error of a newer one), `beat` (last
                                    time the schedules were evaluated)
    schedule:{name}         hash    `seen` (evaluated up to this time), `paused` (since), lease, lease_until
    …:waiting               zset    occurrence (`YYYYMMDDTHHMMZ`) → when it is to start
    …:caught_up             set     occurrences that wait for the batch before them, with any `overlap`
    …:tries                 hash    occurrence → failed attempts to start its batch
    …:open                  set     ids of batches that had not ended at the last check
    …:records               list    JSON of what was started or skipped, newest first

Triggers

    trigger:{name}:turn        string  a listener polls the watched prefix
    trigger:{name}:listed      zset    listed object → last listed
    trigger:{name}:last        string  id of the batch that the trigger started last
    trigger:{name}:day:{n}       set   ids of the batches that were started on a day since 1970
    trigger:{name}:deferred:{n}  set   ids of the batches that wait for the day after it
    invalid_message:{digest}   string  an invalid message was set aside; it expires
    trigger:{name}:missing     zset    digest of an event whose object is missing → since when
    trigger:{name}:taken       zset    digest of a gathered object version → when
    trigger:{name}:window      hash    `n` (number of the open window), `since` (when it was opened)
    trigger:{name}:window:{n}  hash    digest → JSON of an object version
    trigger:{name}:closed      zset    number of a closed window whose batch is not submitted → when it was closed
"""

from __future__ import annotations

PREFIX = "dailies:"

ACCOUNT = f"{PREFIX}account"
ACTIVE = f"{PREFIX}active"
BATCHES = f"{PREFIX}batches"
COUNTERS = f"{PREFIX}figures"
DELIVERIES = f"{PREFIX}notices"
DUE = f"{PREFIX}due"
LEASES = f"{PREFIX}leases"
LISTENER = f"{PREFIX}listener"
LOST = f"{PREFIX}lost"
OPEN_BATCHES = f"{PREFIX}open"
PREVIEWS = f"{PREFIX}previews"
REUSABLE = f"{PREFIX}reuse"
SCHEDULES_FILE = f"{PREFIX}schedules"
SCHEMA = f"{PREFIX}schema"
SEARCH = f"{PREFIX}search"
SET_ASIDE = f"{PREFIX}set_aside"
SPEND = f"{PREFIX}spend"
TASK_LIST_PROBLEM = f"{PREFIX}task_list_problem"
TASKS = f"{PREFIX}tasks"
WRITABLE = f"{PREFIX}writable"


def batch_key(batch_id: str) -> str:
    """Return the key of a batch's hash; the other keys of the batch begin with it."""
    return f"{PREFIX}batch:{batch_id}"


def order_key(batch_id: str) -> str:
    """Return the key of the item ids of a batch, in manifest order."""
    return f"{batch_key(batch_id)}:order"


def specs_key(batch_id: str) -> str:
    """Return the key of the specs of a batch's items."""
    return f"{batch_key(batch_id)}:specs"


def prices_key(batch_id: str) -> str:
    """Return the key of the prices of a batch's items."""
    return f"{batch_key(batch_id)}:prices"


def outcomes_key(batch_id: str) -> str:
    """Return the key of the outcomes of a batch's items."""
    return f"{batch_key(batch_id)}:ended"


def causes_key(batch_id: str) -> str:
    """Return the key of the causes of a batch's failures."""
    return f"{batch_key(batch_id)}:causes"


def reviews_key(batch_id: str) -> str:
    """Return the key of the reviews of a batch's items."""
    return f"{batch_key(batch_id)}:reviews"


def timeline_key(batch_id: str) -> str:
    """Return the key of a batch's timeline."""
    return f"{batch_key(batch_id)}:life"


def previews_key(batch_id: str) -> str:
    """Return the key of the previews of a batch."""
    return f"{batch_key(batch_id)}:previews"


def shared_images_key(batch_id: str) -> str:
    """Return the key of the images that several items of a batch share."""
    return f"{batch_key(batch_id)}:uploads"


def batch_objects_key(batch_id: str) -> str:
    """Return the key of the object versions that a trigger started a batch for."""
    return f"{batch_key(batch_id)}:drops"


def share_links_key(batch_id: str) -> str:
    """Return the key of the share links of a batch."""
    return f"{batch_key(batch_id)}:shares"


def status_files_written_key(batch_id: str) -> str:
    """Return the key that is set when the status files of a batch's objects record that it was accepted."""
    return f"{batch_key(batch_id)}:told"


def item_key(batch_id: str, item_id: str) -> str:
    """Return the key of an item's hash."""
    return f"{PREFIX}item:{batch_id}:{item_id}"


def live_check_key(check_id: str) -> str:
    """Return the key of the callbacks of a check of `doctor`."""
    return f"{PREFIX}live_check:{check_id}"


def login_attempts_key(bucket: str) -> str:
    """Return the key of the wrong tokens that are counted in one bucket."""
    return f"{PREFIX}login_attempts:{bucket}"


def model_key(model: str) -> str:
    """Return the key of the vendor's description of a model, whose name is compared without case."""
    return f"{PREFIX}model:{model.lower()}"


def run_time_key(model: str) -> str:
    """Return the key of the usual time of a model's runs."""
    return f"{PREFIX}run_time:{model.lower()}"


def job_enqueued_key(job: str, *args: str) -> str:
    """Return the key that is set while a job is enqueued and has not begun."""
    return ":".join((f"{PREFIX}wake", job, *args))


def session_key(digest: str) -> str:
    """Return the key of the session whose id has this digest."""
    return f"{PREFIX}session:{digest}"


def sign_in_code_key(digest: str) -> str:
    """Return the key of the sign-in code with this digest."""
    return f"{PREFIX}sign_in_code:{digest}"


def schedule_key(name: str, part: str = "") -> str:
    """Return the key of a schedule's hash, or of one part of its data."""
    return f"{PREFIX}schedule:{name}:{part}" if part else f"{PREFIX}schedule:{name}"


def trigger_key(name: str, part: str) -> str:
    """Return the key of one part of a trigger's data."""
    return f"{PREFIX}trigger:{name}:{part}"


def invalid_message_key(digest: str) -> str:
    """Return the key that is set after an invalid message was set aside."""
    return f"{PREFIX}invalid_message:{digest}"


def messages_key(source: str) -> str:
    """Return what stands for the messages of a source where one was set aside. There is no such key."""
    return f"{PREFIX}messages of {source}"
