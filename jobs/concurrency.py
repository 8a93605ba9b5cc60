"""Work on many things at once: claim a handful whenever that many hands are free, until nothing is due.

The hands are those of the process. A job does not wait for ever for the slowest thing it began, a vendor that hangs or
a large copy: that goes on beside the jobs that follow, its lease kept.
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

MAX_CONCURRENT_ITEMS = 64
"""Things one worker works on at a time."""
MIN_FREE_SLOTS = 16
"""Hands that must be free before busy ones claim more: claiming and writing down cost the same for one as for many."""
TIME_BUDGET_S = 1.0
"""How long one job goes on claiming before it makes room for other kinds of work."""

DRAIN_WAIT_S = 0.1
"""How long a job then waits for what is still at work before it leaves it to itself."""

LeasedT = TypeVar("LeasedT", bound=Leased)

log = structlog.get_logger()


def work(claim: Callable[[int], Sequence[LeasedT]], do: Callable[[LeasedT], None], leases: LeaseKeeper) -> bool:
    """Claim and do until nothing is due, the slice is over or the worker stops. True when more may be due.

    `claim(n)` answers at most n things; `do` works on one, in a thread, its lease kept. What was claimed is always
    finished, though perhaps not before this returns. If `do` raised meanwhile, the first error is raised: a fault of
    ours, for RQ to show; the lease of that thing runs out.
    """

    def hold(thing: LeasedT, claimed_at: float) -> None:
        with leases.keep(thing, claimed_at):
            do(thing)

    slots = JobSlots()
    ends = time.monotonic() + TIME_BUDGET_S
    more = True
    try:
        while time.monotonic() < ends and not stopping.is_set():
            claimed_at = time.monotonic()
            free = MAX_CONCURRENT_ITEMS - _slots.busy
            for thing in claim(free) if free > 0 else ():
                slots.start(partial(hold, thing, claimed_at))
            if slots.busy == 0 and free > 0:
                more = False
                break
            _slots.wait_until(min(_slots.busy - 1, MAX_CONCURRENT_ITEMS - MIN_FREE_SLOTS), ends)
    finally:
        slots.leave()
    if slots.errors:
        raise slots.errors[0]
    return more


def wait_for_all() -> None:
    """Wait until every hand of this process is free. What they do has time limits of its own."""
    _slots.wait_until(0, None)


class SlotPool:
    """All hands of this process. `busy` of them have something in them."""

    def __init__(self) -> None:
        self.busy = 0
        self.changed = threading.Condition()

    def wait_until(self, busy: int, ends: float | None) -> None:
        """Wait until no more than `busy` hands are; at most until `ends` (time.monotonic)."""
        with self.changed:
            self.changed.wait_for(lambda: self.busy <= busy, None if ends is None else ends - time.monotonic())


_slots = SlotPool()


class JobSlots:
    """The hands that one job has set to work."""

    def __init__(self) -> None:
        self.busy = 0
        self.errors: list[Exception] = []
        self._left = False

    def start(self, job: Callable[[], None]) -> None:
        with _slots.changed:
            self.busy += 1
            _slots.busy += 1
        _executor().submit(self._run, job)

    def leave(self) -> None:
        """The job ends. What takes long goes on without it."""
        with _slots.changed:
            _slots.changed.wait_for(lambda: self.busy == 0, DRAIN_WAIT_S)
            self._left = self.busy > 0

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            self.errors.append(error)
            if self._left:
                log.exception("hand_failed")
        finally:
            with _slots.changed:
                self.busy -= 1
                _slots.busy -= 1
                _slots.changed.notify_all()


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_CONCURRENT_ITEMS, thread_name_prefix="hand")
