"""How fast a batch goes, and when it will have ended: the same figures for the dashboard and for commands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.domain.model import BatchRow
from pipeline.domain.states import BATCH_TERMINAL, BatchState, ItemState, ended_count
from pipeline.domain.throughput import OpenWork, items_per_minute, remaining_s, running_ages
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import AccountRow
from pipeline.ledger.timeline import STARTED, Timeline
from pipeline.wiro.model_schema import computing_time_s

_WAITING = (ItemState.PENDING, ItemState.SUBMITTING)
_AT_WORK = (ItemState.RUNNING, ItemState.COLLECTING)


@dataclass(frozen=True)
class Progress:
    """The figures of a batch at one moment.

    `working_s`: its duration without the pauses before it was opened again. `per_minute`: items that end per minute;
    of an ended batch the mean. `remaining_s`: None if it is not known or nothing can run; negative: for so many
    seconds the last runs have taken longer than usual.
    """

    timeline: Timeline
    working_s: float
    per_minute: float | None
    remaining_s: float | None


def read_progress(ledger: Ledger, batch: BatchRow, account: AccountRow, now: datetime) -> Progress:
    """Return the progress of a batch. Raises Unreachable."""
    elapsed_s = max(0.0, ((batch.finished or now) - batch.created).total_seconds())
    timeline = ledger.timeline.read(batch.id, elapsed_s)
    working_s = batch.working_s(now)
    if batch.status in BATCH_TERMINAL:
        per_minute = 60 * ended_count(batch.counts) / working_s if working_s else None
        return Progress(timeline, working_s, per_minute, None)
    since_s = (batch.reopened - batch.created).total_seconds() if batch.reopened else 0.0
    per_minute = items_per_minute(timeline.ended, timeline.step_s, elapsed_s, since_s=since_s)
    work = open_work(batch, timeline, elapsed_s, account)
    is_held = _is_held(batch, account, now) or (not work.running and _is_full(account))
    left_s = None if is_held else remaining_s(work, usual_run_s(ledger, batch.model), per_minute)
    return Progress(timeline, working_s, per_minute, left_s)


def open_work(batch: BatchRow, timeline: Timeline, elapsed_s: float, account: AccountRow) -> OpenWork:
    """Return what is left to do of a batch."""
    waiting, at_work = (sum(batch.counts.get(state, 0) for state in states) for states in (_WAITING, _AT_WORK))
    started = [slice_.get(STARTED, 0) for slice_ in timeline.slices]
    return OpenWork(waiting, running_ages(started, timeline.step_s, elapsed_s, at_work), account.concurrency_limit)


def usual_run_s(ledger: Ledger, model: str) -> float | None:
    """Return how long a run of a model usually takes: from our own runs, else the vendor's figure; None if unknown.

    No request is sent: the vendor's description is in Redis since the batch was submitted.
    """
    usual_s = ledger.run_times.usual_s(model)
    if usual_s is not None:
        return usual_s
    cached = ledger.model_cache.get(model)
    return computing_time_s(cached.tool) if cached else None


def _is_full(account: AccountRow) -> bool:
    """Return whether runs of other batches have all slots."""
    return account.concurrency_limit is not None and account.active >= account.concurrency_limit


def _is_held(batch: BatchRow, account: AccountRow, now: datetime) -> bool:
    """Return whether items wait that may not be submitted now."""
    if not batch.counts.get(ItemState.PENDING):
        return False
    is_backing_off = account.backoff_until is not None and account.backoff_until > now
    is_paused = batch.status == BatchState.PAUSED or account.paused_reason is not None
    return is_paused or is_backing_off or account.waits_until is not None
