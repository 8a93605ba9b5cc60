"""Work on a handful of things at once: claim as many as there are free hands, until nothing is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

from jobs.context import stopping
from jobs.leases import Held, LeaseKeeper

HANDS = 32
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

    ends = time.monotonic() + SLICE_S
    at_work: set[Future[None]] = set()
    errors: list[BaseException] = []
    while time.monotonic() < ends and not stopping.is_set():
        claimed_at = time.monotonic()
        claimed = claim(HANDS - len(at_work))
        at_work |= {_hands().submit(hold, thing, claimed_at) for thing in claimed}
        if not at_work:
            return _no_more(errors)
        done, at_work = wait(at_work, return_when=FIRST_COMPLETED)
        errors += [error for future in done if (error := future.exception())]
    done, _ = wait(at_work)
    errors += [error for future in done if (error := future.exception())]
    _no_more(errors)
    return True


def _no_more(errors: list[BaseException]) -> bool:
    if errors:
        raise errors[0]
    return False


@lru_cache(maxsize=1)
def _hands() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(HANDS, thread_name_prefix="hand")
