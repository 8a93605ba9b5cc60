"""The ledger: where every item is. The only module that knows Redis keys.

Every change is one atomic script of `lua/`; what it needs and answers stands on its top. Keys, all under `dailies:`

    batches               zset  batch id → created (ms)
    open                  zset  batch id → since when it runs (ms): batches whose results are not written
    turn                  zset  batch id → when it was last served: batches with pending items
    batch:{id}            hash  the batch: plan, status, counts n:{state} and marked:{verdict}, open, active, cost,
                                reserved (pico-USD)
    batch:{id}:order      list  item ids in manifest order
    batch:{id}:specs      hash  item id → JSON {image, prompt, params}
    batch:{id}:pending    zset  item id → when it is due (ms)
    batch:{id}:ended      hash  item id → JSON of what became of it
    batch:{id}:reviews    hash  item id → JSON {mark, note}: what a person thinks of its outputs
    batch:{id}:life       hash  how often what happened when (see ledger_life.py)
    batch:{id}:uploads    hash  image → URL at the vendor, for images that several items share
    item:{batch}:{item}   hash  state, attempt (numbers runs), tries (attempts spent), lease, task, token, paid …
    due                   zset  "batch item" → when a run is to be looked at, or its lease ends (ms)
    leases                zset  "batch item" → when the lease of a submission ends (ms)
    adopt                 zset  "batch item" → until when a lost run is waited for (ms)
    active                set   "batch item" of every run that may be active at the vendor
    spend                 hash  day since 1970 → what runs of that day cost (pico-USD)
    notices               zset  batch id → when its `notify` address is told (see ledger_notices.py)
    figures               hash  what was counted for /metrics (see ledger_figures.py)
    door:{address}        text  tries to sign in (see ledger_door.py)
    account               hash  window, paused, backoff_until, backoff_tries, trouble
    wake:{…}              text  a wake-up is on its way (see wake.py)

Times are milliseconds of the Redis server's clock; a worker's own clock decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.model import BatchRow, ItemRow, Review
from pipeline.domain.money import from_pico, to_pico
from pipeline.domain.states import TERMINAL, TRANSITIONS, BatchState, ItemState
from pipeline.errors import NoSuchBatch, NoSuchItem
from pipeline.ledger import redis_client
from pipeline.ledger.counters import CounterStore, latency_bounds
from pipeline.ledger.keys import PREFIX
from pipeline.ledger.keys import batch_key as _batch
from pipeline.ledger.keys import item_key as _item
from pipeline.ledger.login_attempts import LoginAttempts
from pipeline.ledger.outbox import Outbox
from pipeline.ledger.queries import LedgerQueries
from pipeline.ledger.records import (
    AccountRow,
    BatchBudget,
    BatchConfig,
    EndedItem,
    Finished,
    Paid,
    PollLease,
    PollLeases,
    Returned,
    RunRef,
    SubmissionLease,
    SubmissionLeases,
    batch_row,
    due_row,
    moment,
    ms,
    seconds,
)
from pipeline.ledger.timeline import TimelineStore, timeline_constants

_Thing = TypeVar("_Thing")
_CHUNK = 500

_HELD = json.dumps(
    {
        "status": ItemState.UNKNOWN,
        "error": "The answer to the run was lost and no callback came: the vendor may have made and billed it. "
        "`dailies retry BATCH --status unknown` runs it again.",
    }
)


class Ledger(LedgerQueries, CounterStore, TimelineStore, Outbox, LoginAttempts):
    """Every read and every transition. Thread-safe."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        prelude = _legal_transitions() + latency_bounds() + timeline_constants() + (_LUA / "_common.lua").read_text()
        self._scripts = {
            path.stem: redis.register_script(prelude + path.read_text())
            for path in _LUA.glob("*.lua")
            if not path.stem.startswith("_")
        }

    @classmethod
    def connect(
        cls, redis_url: str, *, retry_timeout_s: float = 0, socket_timeout_s: float = redis_client.SOCKET_TIMEOUT_S
    ) -> Ledger:
        """A ledger on the server at `redis_url`; nothing is sent yet.

        Every method may raise Unreachable, once the server has been away for `patience_s`, or has stood still for
        `answer_s`.
        """
        return cls(redis_client.connect(redis_url, retry_timeout_s=retry_timeout_s, socket_timeout_s=socket_timeout_s))

    def _run(self, script: str, *args: object) -> Any:
        return self._scripts[script](keys=[PREFIX], args=args)

    def _run_durably(self, script: str, *args: object) -> Any:
        return redis_client.run_durably(self._redis, self._scripts[script], PREFIX, *args)

    def ping(self) -> None:
        """Raise Unreachable unless the server answers."""
        self._redis.ping()

    # Batches

    def open_batch(
        self, row: BatchRow, plan: BatchConfig, *, max_active: int, budget_usd: Decimal | None, manifest_digest: str
    ) -> bool:
        """Put a batch on the ledger, once. `asked` is the digest of its manifest. False when the id is there."""
        fields: dict[str, object] = {
            "name": row.name,
            "status": row.status,
            "output": row.output,
            "trigger": row.trigger,
            "revision": row.revision,
            "plan": json.dumps({name: value for name, value in asdict(plan).items() if name != "output"}),
            "max_active": max_active,
            "total": 0,
            "expected": row.total,
            "open": 0,
            "asked": manifest_digest,
        }
        if budget_usd is not None:
            fields["budget"] = to_pico(budget_usd)
        return bool(self._run("open_batch", row.id, *(part for pair in fields.items() for part in pair)) == 1)

    def manifest_digest(self, batch_id: str) -> str | None:
        """The digest of the manifest that the batch was opened with; None when there is no such batch."""
        value: str | None = self._redis.hget(_batch(batch_id), "asked")
        return value

    def accept_batch(self, batch_id: str) -> None:
        """The manifest and all inputs are on S3: `start` may read them."""
        self._redis.hset(_batch(batch_id), "accepted", 1)
        self._redis.zadd(f"{PREFIX}open", {batch_id: 0}, nx=True)

    def is_accepted(self, batch_id: str) -> bool:
        """Whether `accept_batch` was called."""
        return bool(self._redis.hexists(_batch(batch_id), "accepted"))

    def is_loaded(self, batch_id: str) -> bool:
        """Whether every item is on the ledger."""
        return bool(self._redis.hexists(_batch(batch_id), "loaded"))

    def has_ended(self, batch_id: str) -> bool:
        """Whether every item has ended."""
        return bool(self._redis.hget(_batch(batch_id), "open") == "0")

    def age_s(self, batch_id: str) -> float:
        """Seconds since the batch was created, by the server's clock. Raises NoSuchBatch."""
        created = self._redis.hget(_batch(batch_id), "created")
        if created is None:
            raise NoSuchBatch(batch_id)
        second, microsecond = self._redis.time()
        return float(second + microsecond / 1e6 - int(created) / 1000)

    def load_items(self, batch_id: str, specs: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Put items (id, {image, prompt, params}) on the batch; those that are there stay as they are."""
        for chunk in _batched(specs, _CHUNK):
            self._run(
                "load_items", batch_id, *(part for item_id, spec in chunk for part in (item_id, _spec_text(spec)))
            )

    def restore_items(
        self, batch_id: str, items: Iterable[tuple[str, Mapping[str, Any]]], *, adopt_wait_s: float
    ) -> None:
        """Put items on a batch as S3 knows them (see recovery.py); those that are there stay as they are.

        Each is (id, {spec, state, attempt, task, token, paid, outcome}).
        """
        for chunk in _batched(items, _CHUNK):
            args: list[object] = []
            for item_id, item in chunk:
                outcome = json.dumps(item["outcome"], ensure_ascii=False) if item["outcome"] else ""
                run = (item["state"], item["attempt"], item["task"], item["token"])
                cost = (item["paid"], to_pico(Decimal(item["paid"] or 0)))
                args += [item_id, _spec_text(item["spec"]), *run, *cost, outcome]
            self._run("restore_items", batch_id, ms(adopt_wait_s), *args)

    def start_batch(self, batch_id: str, *, price_usd: Decimal, max_failures: int) -> None:
        """All items are loaded: the batch runs. `price_usd` of one run, 0 when it is not known."""
        self._run("start_batch", batch_id, to_pico(price_usd), max_failures)

    def batch(self, batch_id: str) -> BatchRow:
        """One batch with its figures. Raises NoSuchBatch."""
        fields = self._redis.hgetall(_batch(batch_id))
        if not fields:
            raise NoSuchBatch(batch_id)
        return batch_row(batch_id, fields)

    def batches(self, limit: int = 50) -> list[BatchRow]:
        """The newest batches, newest first."""
        ids = self._redis.zrange(f"{PREFIX}batches", 0, limit - 1, desc=True)
        with self._redis.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hgetall(_batch(batch_id))
            answers = pipe.execute()
        return [batch_row(batch_id, fields) for batch_id, fields in zip(ids, answers, strict=True) if fields]

    def open_batches(self) -> list[str]:
        """Ids of batches whose results are not written yet."""
        ids: list[str] = self._redis.zrange(f"{PREFIX}open", 0, -1)
        return ids

    def plan(self, batch_id: str) -> BatchConfig:
        """What the items of a batch share. Raises NoSuchBatch."""
        text, output = self._redis.hmget(_batch(batch_id), "plan", "output")
        if text is None:
            raise NoSuchBatch(batch_id)
        return BatchConfig(**json.loads(text), output=output)

    def batch_budget(self, batch_id: str) -> BatchBudget:
        """What a batch may cost and what a run of it costs. Raises NoSuchBatch."""
        budget, price, created = self._redis.hmget(_batch(batch_id), "budget", "price", "created")
        if created is None:
            raise NoSuchBatch(batch_id)
        return BatchBudget(from_pico(budget) if budget else None, from_pico(price) if price and price != "0" else None)

    def items(self, batch_id: str, states: Collection[str] | None = None) -> Iterator[ItemRow]:
        """Items in manifest order, streamed; only those in `states` when given."""
        base = _batch(batch_id)
        for first in range(0, self._redis.llen(f"{base}:order"), _CHUNK):
            ids = self._redis.lrange(f"{base}:order", first, first + _CHUNK - 1)
            for row in self._rows(batch_id, ids):
                if states is None or row.status in states:
                    yield row

    def run_of(self, batch_id: str, item_id: str) -> RunRef | None:
        """The latest run of an item, None before the vendor took one. Raises NoSuchBatch, NoSuchItem."""
        self.spec(batch_id, item_id)
        task, token, attempt = self._redis.hmget(_item(batch_id, item_id), "task", "token", "attempt")
        return RunRef(task, token or "", int(attempt)) if task else None

    def uploads(self, batch_id: str) -> dict[str, str]:
        """{image: URL at the vendor, '' before it is there} of images that several items share."""
        found: dict[str, str] = self._redis.hgetall(f"{_batch(batch_id)}:uploads")
        return found

    def share_images(self, batch_id: str, images: Iterable[str]) -> None:
        """Images that several items share are to be uploaded to the vendor: '' until they are."""
        with self._redis.pipeline(transaction=False) as pipe:
            for image in images:
                pipe.hsetnx(f"{_batch(batch_id)}:uploads", image, "")
            pipe.execute()

    def uploaded(self, batch_id: str, image: str) -> str | None:
        """The URL at the vendor of an image that several items share; None when it has none."""
        return self._redis.hget(f"{_batch(batch_id)}:uploads", image) or None

    def note_upload(self, batch_id: str, image: str, url: str) -> None:
        """Remember where the vendor has `image`."""
        self._redis.hset(f"{_batch(batch_id)}:uploads", image, url)

    # Submitting

    def claim_runs(self, limit: int, *, lease_s: float, max_active: int) -> SubmissionLeases:
        """Claim pending items to submit: fair between batches, within window, budgets and back-off."""
        lease = uuid4().hex
        wait, broke, claimed = self._run("claim_runs", limit, ms(lease_s), lease, max_active)
        runs = []
        for batch, item, attempt, attempts_spent, refusals, text in claimed:
            spec = json.loads(text)
            what = (spec["image"], spec["prompt"], spec["params"])
            runs.append(
                SubmissionLease(RunId(batch, item, int(attempt)), lease, int(attempts_spent), int(refusals), *what)
            )
        return SubmissionLeases(runs, seconds(wait), broke)

    def mark_posting(self, claims: Sequence[SubmissionLease]) -> list[SubmissionLease]:
        """Before runs are posted: that they are, on disk where the server can say so. Answers those still ours."""
        if not claims:
            return []
        args = [part for claim in claims for part in (*_name(claim.run), claim.lease)]
        ours = self._run_durably("write_down", *args)
        return [claim for claim, is_ours in zip(claims, ours, strict=True) if is_ours]

    def accept_run(self, run: RunId, lease: str, task_id: str, token: str, look_after_s: float) -> bool:
        """The vendor took the run. False when it is no longer ours."""
        return bool(self._run("accept_run", *_name(run), lease, task_id, token, ms(look_after_s)) == 1)

    def requeue_run(self, run: RunId, lease: str, state: ItemState, *, delay_s: float, spent: bool) -> Returned:
        """The attempt came to nothing: the item waits `delay_s`. `spent`: it counts against `limits.attempts`."""
        args = (run.batch, run.item, state, run.attempt, lease, ms(delay_s), int(spent))
        return Returned(self._run("return_run", *args))

    def mark_unknown(self, run: RunId, lease: str, *, adopt_wait_s: float) -> bool:
        """The answer to the run was lost: unknown, until a callback brings it back."""
        return bool(self._run("lose_run", *_name(run), lease, ms(adopt_wait_s)) == 1)

    def revert_unposted(self, run: RunId) -> bool:
        """A run that was given up as lost was in fact never posted. False when the item has moved on."""
        return bool(self._run("never_posted", *_name(run)) == 1)

    # Collecting

    def record_callback(self, run: RunId, task_id: str, token: str) -> bool:
        """A callback came. True when there is something to look at now."""
        return bool(self._run("ring", *_name(run), task_id, token)[1] == 1)

    def record_callbacks(self, calls: Iterable[tuple[RunId, str, str]]) -> bool:
        """Callbacks came, each as (run, task id, token). True when a `collect` job is to be woken for them."""
        args = [part for run, task_id, token in calls for part in (*_name(run), task_id, token)]
        on_its_way, *rung = self._run("ring", *args)
        return bool(any(rung) and not on_its_way)

    def claim_due(self, limit: int, *, lease_s: float) -> PollLeases:
        """Claim runs that are to be looked at."""
        lease = uuid4().hex
        wait, claimed = self._run("claim_due", limit, ms(lease_s), lease)
        return PollLeases([due_row(fields, lease) for fields in claimed], seconds(wait))

    def renew(self, held: Iterable[tuple[RunId, str]], *, lease_s: float) -> list[bool]:
        """Keep (run, lease) pairs for `lease_s` from now. Answers for each whether it is still ours."""
        args = (part for run, lease in held for part in (run.batch, run.item, lease))
        return [ours == 1 for ours in self._run("renew", ms(lease_s), *args)]

    def release(self, due: PollLease, *, delay_s: float, counter: str = "") -> bool:
        """Look again in `delay_s`. `counter` is 'looks' or 'copies' when this look failed."""
        run = due.run
        args = (run.batch, run.item, due.state, run.attempt, due.lease, ms(delay_s), counter)
        return bool(self._run("put_down", *args) == 1)

    def record_success(self, due: PollLease, cost_usd: Decimal) -> Paid:
        """The run succeeded: its cost is on the batch, its place is free."""
        return Paid(self._run("pay_run", *_name(due.run), due.lease, to_pico(cost_usd), str(cost_usd)))

    def end_item(
        self, run: RunId, lease: str, state: ItemState, to: ItemState, outcome: Mapping[str, Any]
    ) -> EndedItem:
        """The item has ended with `outcome`, a row document without what the manifest says."""
        text = json.dumps({"status": to, **outcome}, ensure_ascii=False)
        answer = self._run("end_item", run.batch, run.item, state, run.attempt, lease, to, text)
        return EndedItem(answer[0] >= 0, answer[0] == 0, answer[1] == 1, answer[2])

    # Steering

    def set_status(self, batch_id: str, to: BatchState, *, among: Sequence[BatchState], reason: str = "") -> bool:
        """Change a batch's status where it is one of `among`. Raises NoSuchBatch."""
        changed = self._run("set_status", batch_id, to, reason, *among)
        if changed < 0:
            raise NoSuchBatch(batch_id)
        return bool(changed == 1)

    def cancel_pending(self, batch_id: str, reason: str) -> int:
        """End all pending items as cancelled, in small steps. Answers how many items are still open."""
        outcome = json.dumps({"status": ItemState.CANCELLED, "error": reason}, ensure_ascii=False)
        while True:
            ended, still_open = self._run("cancel_pending", batch_id, _CHUNK, outcome)
            if ended < _CHUNK:
                return int(still_open)

    def poll_now(self, batch_id: str) -> None:
        """Make every running item of a batch due now."""
        self._in_steps("hurry_running", batch_id)

    def retry_items(self, batch_id: str, states: Collection[str]) -> int:
        """Let ended items in `states` go again; what is paid is only copied again. Answers how many. NoSuchBatch."""
        self.batch(batch_id)
        wanted = [state for state in states if state in TERMINAL and state != ItemState.SUCCEEDED]
        first, reopened = 0, 0
        while True:
            seen, count = self._run("reopen_items", batch_id, first, first + _CHUNK - 1, *wanted)
            first, reopened = first + _CHUNK, reopened + count
            if seen < _CHUNK:
                return int(reopened)

    def retry_item(self, batch_id: str, item_id: str) -> bool:
        """Let one ended item go again. False when it has not ended, or has succeeded. NoSuchBatch, NoSuchItem."""
        wanted = [state for state in TERMINAL if state != ItemState.SUCCEEDED]
        reopened = self._run("reopen_item", batch_id, item_id, *wanted)
        if reopened < 0:
            self.batch(batch_id)
            raise NoSuchItem(batch_id, item_id)
        return bool(reopened == 1)

    def review(self, batch_id: str, item_id: str, review: Review | None) -> bool:
        """Note a person's verdict, None takes it back. True when the results are due once more.

        Raises NoSuchBatch, NoSuchItem.
        """
        text = json.dumps(asdict(review), ensure_ascii=False) if review else ""
        due = self._run("review", batch_id, item_id, text)
        if due < 0:
            self.batch(batch_id)
            raise NoSuchItem(batch_id, item_id)
        return bool(due == 1)

    def add_item(self, batch_id: str, item_id: str, spec: Mapping[str, Any]) -> bool:
        """One more item on a loaded batch, which is open again if it had ended. False when there is such an item."""
        return bool(self._run("add_item", batch_id, item_id, _spec_text(spec)) == 1)

    def spec(self, batch_id: str, item_id: str) -> dict[str, Any]:
        """{image, prompt, params} of an item. Raises NoSuchBatch, NoSuchItem."""
        text = self._redis.hget(f"{_batch(batch_id)}:specs", item_id)
        if text is None:
            self.batch(batch_id)
            raise NoSuchItem(batch_id, item_id)
        found: dict[str, Any] = json.loads(text)
        return found

    def _in_steps(self, script: str, batch_id: str) -> None:
        first = 0
        while self._run(script, first, first + _CHUNK - 1, batch_id) == _CHUNK:
            first += _CHUNK

    def pause(self, batch_id: str | None) -> None:
        """Submit nothing more, of one batch or of the whole account. Raises NoSuchBatch."""
        if batch_id is None:
            self.pause_account("Paused by hand.")
        else:
            self.set_status(batch_id, BatchState.PAUSED, among=[BatchState.RUNNING], reason="Paused by hand.")

    def resume(self, batch_id: str | None) -> None:
        """Go on. Raises NoSuchBatch."""
        if batch_id is None:
            self._redis.hdel(
                f"{PREFIX}account",
                *("paused", "probe_at", "probe_wait", "probing", "backoff_until", "backoff_tries", "trouble"),
            )
        else:
            self.set_status(batch_id, BatchState.RUNNING, among=[BatchState.PAUSED])

    # The account

    def spend(self, days: int) -> list[tuple[date, Decimal]]:
        """What runs cost on each of the last `days` days in UTC, oldest first, today last."""
        today = int(self._redis.time()[0]) // 86_400
        wanted = range(today - days + 1, today + 1)
        costs = self._redis.hmget(f"{PREFIX}spend", wanted)
        return [(_day(day), from_pico(cost or "0")) for day, cost in zip(wanted, costs, strict=True)]

    def account(self) -> AccountRow:
        """How the account is doing."""
        concurrency_limit, paused, probe_at, until, backoff_reason = self._redis.hmget(
            f"{PREFIX}account", "window", "paused", "probe_at", "backoff_until", "trouble"
        )
        active = int(self._redis.scard(f"{PREFIX}active"))
        return AccountRow(
            active,
            int(float(concurrency_limit)) if concurrency_limit else None,
            paused,
            moment(probe_at or 0),
            moment(until or 0),
            backoff_reason,
        )

    def limit_concurrency(self, allowed: int | None) -> None:
        """The vendor allows no more than `allowed` runs at a time (None: fewer than now)."""
        self._run("trouble", "window", allowed or 0)

    def back_off(self, *, first_s: float, longest_s: float, reason: str) -> None:
        """Submit nothing for a while, longer each time in a row."""
        self._run("trouble", "backoff", ms(first_s), ms(longest_s), reason)

    def pause_account(self, reason: str, *, probe_after_s: float = 0) -> None:
        """Submit nothing until a person resumes or a probe, a single run, succeeds.

        The first probe is made after `probe_after_s`, later ones less and less often; 0: none is.
        """
        self._run("trouble", "pause", reason, ms(probe_after_s))

    # Finishing, and what time alone changes

    def claim_finish(self, batch_id: str, *, lease_s: float) -> str | None:
        """Claim the writing of a batch's results. The lease, or None when it is not to be written by us now."""
        lease = uuid4().hex
        return lease if self._run("claim_finish", batch_id, ms(lease_s), lease) == 1 else None

    def renew_finish(self, batch_id: str, lease: str, *, lease_s: float) -> bool:
        """Keep the claim for `lease_s` from now. False when it was lost."""
        return bool(self._run("renew_finish", batch_id, ms(lease_s), lease) == 1)

    def finish_batch(
        self,
        batch_id: str,
        lease: str,
        status: BatchState,
        finished: datetime,
        revision: int,
        *,
        notify: bool = False,
    ) -> Finished:
        """The results are written, as `revision`. `notify`: somebody is to be told when that is the batch's end."""
        moment_ms = int(finished.timestamp() * 1000)
        return Finished(self._run("finish_batch", batch_id, lease, status, moment_ms, revision, int(notify)))

    def expire_leases(self, *, adopt_wait_s: float, on_unknown: str) -> list[str]:
        """Give up what time has run out for. Answers the batches in which an item was held as unknown."""
        held: set[str] = set()
        while True:
            lost, kept, again, batches = self._run("expire", _CHUNK, ms(adopt_wait_s), on_unknown, _HELD)
            held.update(batches)
            if max(lost, kept + again) < _CHUNK:
                return sorted(held)


_LUA = Path(__file__).with_name("lua")


def _legal_transitions() -> str:
    rows = [f"{state}={{{','.join(f'{to}=true' for to in sorted(tos))}}}" for state, tos in TRANSITIONS.items()]
    return f"local LEGAL = {{{', '.join(rows)}}}\n"


def _batched(things: Iterable[_Thing], size: int) -> Iterator[list[_Thing]]:
    source = iter(things)
    while chunk := list(islice(source, size)):
        yield chunk


def _spec_text(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, ensure_ascii=False, separators=(",", ":"))


def _day(since_1970: int) -> date:
    return date(1970, 1, 1) + timedelta(days=since_1970)


def _name(run: RunId) -> tuple[str, str, int]:
    return run.batch, run.item, run.attempt
