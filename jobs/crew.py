"""Work on many things at once: claim a handful whenever that many hands are free, until nothing is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TypeVar

from jobs.context import stopping
from jobs.leases import Held, LeaseKeeper

HANDS = 64
"""Things one worker works on at a time."""
HANDFUL = 16
"""Hands that must be free before busy ones claim more: claiming and writing down cost the same for one as for many."""
SLICE_S = 5.0
"""How long one job goes on claiming before it makes room for other kinds of work."""

HeldT = TypeVar("HeldT", bound=Held)


def work(claim: Callable[[int], Sequence[HeldT]], do: Callable[[HeldT], None], leases: LeaseKeeper) -> bool:
    """Claim and do until nothing is due, the slice is over or the worker stops. True when more may be due.

    `claim(n)` answers at most n things; `do` works on one, in a thread, its lease kept. What was claimed is always
    finished. If `do` raised, the first error is raised once everything else is done: a fault of ours, for RQ to
    show; the lease of that thing runs out.
    """

    def hold(thing: HeldT, claimed_at: float) -> None:
        with leases.keep(thing, claimed_at):
            do(thing)

    crew = _Crew()
    ends = time.monotonic() + SLICE_S
    more = True
    try:
        while time.monotonic() < ends and not stopping.is_set():
            claimed_at = time.monotonic()
            for thing in claim(HANDS - crew.busy):
                crew.start(partial(hold, thing, claimed_at))
            if crew.busy == 0:
                more = False
                break
            crew.wait_until(min(crew.busy - 1, HANDS - HANDFUL))
    finally:
        crew.wait_until(0)
    if crew.errors:
        raise crew.errors[0]
    return more


class _Crew:
    """Hands at work. `busy` of them have something in them."""

    def __init__(self) -> None:
        self.busy = 0
        self.errors: list[Exception] = []
        self._changed = threading.Condition()

    def start(self, job: Callable[[], None]) -> None:
        with self._changed:
            self.busy += 1
        _hands().submit(self._run, job)

    def wait_until(self, busy: int) -> None:
        """Wait until no more than `busy` hands are. What they do has time limits of its own."""
        with self._changed:
            self._changed.wait_for(lambda: self.busy <= busy)

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            self.errors.append(error)
        finally:
            with self._changed:
                self.busy -= 1
                self._changed.notify()


@lru_cache(maxsize=1)
def _hands() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(HANDS, thread_name_prefix="hand")
