"""Concurrent work on claimed items: a job claims items whenever slots are free, until nothing is due.

The slots belong to the process. A job does not wait until its slowest item is done: if the vendor hangs or an output
is large, the item keeps its slot and its lease while other jobs run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TypeVar

import structlog

from jobs.context import stopping
from jobs.leases import Leased, LeaseKeeper
from pipeline.batches.job_queue import Job, JobQueue
from pipeline.ledger.records import PollLeases, SubmissionLeases

MAX_CONCURRENT_ITEMS = 64
"""Items that one worker works on at a time."""
MIN_FREE_SLOTS = 16
"""Free slots before a busy worker claims again: a claim and its writes cost the same for one item as for many."""
TIME_BUDGET_S = 1.0
"""How long one job claims items before other kinds of jobs may run."""
DRAIN_WAIT_S = 0.1
"""How long a job then waits for its items. Items that take longer continue in the background."""

LeasedT = TypeVar("LeasedT", bound=Leased)

log = structlog.get_logger()


def work(claim: Callable[[int], Sequence[LeasedT]], do: Callable[[LeasedT], None], leases: LeaseKeeper) -> bool:
    """Claim items and work on them until nothing is due, the time budget is spent or the worker stops.

    `claim(n)` returns at most n leases. `do` works on one of them, in a thread, while its lease is renewed. Every
    claimed item is finished, but perhaps after this function has returned. Return whether more items may be due.
    Raises the first error that `do` raised before the return: a bug, which RQ shows. The lease of that item expires.
    """

    def hold(lease: LeasedT, claimed_at: float) -> None:
        with leases.hold(lease, claimed_at):
            do(lease)

    slots = JobSlots()
    ends = time.monotonic() + TIME_BUDGET_S
    more = True
    try:
        while time.monotonic() < ends and not stopping.is_set():
            claimed_at = time.monotonic()
            free = MAX_CONCURRENT_ITEMS - _slots.busy
            for lease in claim(free) if free > 0 else ():
                slots.start(partial(hold, lease, claimed_at))
            if slots.busy == 0 and free > 0:
                more = False
                break
            _slots.wait_until(min(_slots.busy - 1, MAX_CONCURRENT_ITEMS - MIN_FREE_SLOTS), ends)
    finally:
        slots.detach()
    if slots.errors:
        raise slots.errors[0]
    return more


def enqueue_next(job_queue: JobQueue, job: Job, claimed: SubmissionLeases | PollLeases, limit: int) -> None:
    """Enqueue `job` for what a claim of at most `limit` items has left: now, or for when the next one is due."""
    if len(claimed.runs) == limit:
        # More may be due than this worker has slots: another worker can help.
        job_queue.enqueue_once(job)
    elif claimed.next_in_s is not None:
        job_queue.enqueue_in(job, claimed.next_in_s)


def wait_for_all() -> None:
    """Wait until every slot of this process is free. All work on items has time limits."""
    _slots.wait_until(0, None)


class SlotPool:
    """All slots of this process. `busy`: how many are in use."""

    def __init__(self) -> None:
        self.busy = 0
        self.changed = threading.Condition()

    def wait_until(self, busy: int, ends: float | None) -> None:
        """Wait until at most `busy` slots are in use, but not longer than until `ends` (time.monotonic)."""
        with self.changed:
            self.changed.wait_for(lambda: self.busy <= busy, None if ends is None else ends - time.monotonic())


_slots = SlotPool()


class JobSlots:
    """The slots that one job uses."""

    def __init__(self) -> None:
        self.busy = 0
        self.errors: list[Exception] = []
        self._is_detached = False

    def start(self, task: Callable[[], None]) -> None:
        """Run `task` in a slot."""
        with _slots.changed:
            self.busy += 1
            _slots.busy += 1
        _executor().submit(self._run, task)

    def detach(self) -> None:
        """End the job. Tasks that take longer than DRAIN_WAIT_S continue in the background."""
        with _slots.changed:
            _slots.changed.wait_for(lambda: self.busy == 0, DRAIN_WAIT_S)
            self._is_detached = self.busy > 0

    def _run(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:
            self.errors.append(error)
            if self._is_detached:
                # The job has returned: nothing else reports the error.
                log.exception("background_item_failed")
        finally:
            with _slots.changed:
                self.busy -= 1
                _slots.busy -= 1
                _slots.changed.notify_all()


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_CONCURRENT_ITEMS, thread_name_prefix="item")
