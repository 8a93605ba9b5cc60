"""Work on a handful of things at once: claim as many as there are free hands, until nothing is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import lru_cache

from jobs.context import stopping

HANDS = 32
SLICE_S = 5.0
"""How long one job goes on claiming before it makes room for other kinds of work."""


def work[T](claim: Callable[[int], Sequence[T]], do: Callable[[T], None]) -> bool:
    """Claim and do until nothing is due, the slice is over or the worker stops. True when more may be due.

    `claim(n)` answers at most n things; `do` works on one, in a thread. What was claimed is always finished. If
    `do` raised, the first error is raised once everything else is done: a fault of ours, for RQ to show; the lease
    of that thing runs out.
    """
    ends = time.monotonic() + SLICE_S
    at_work: set[Future[None]] = set()
    errors: list[BaseException] = []
    more = True
    while True:
        may_claim = time.monotonic() < ends and not stopping.is_set()
        claimed = claim(HANDS - len(at_work)) if may_claim and len(at_work) < HANDS else []
        at_work |= {_hands().submit(do, thing) for thing in claimed}
        if may_claim and not claimed and len(at_work) < HANDS:
            more = False
        if not at_work:
            break
        done, at_work = wait(at_work, return_when=FIRST_COMPLETED)
        errors += [error for future in done if (error := future.exception())]
        if not may_claim:
            more = True
    if errors:
        raise errors[0]
    return more


@lru_cache(maxsize=1)
def _hands() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(HANDS, thread_name_prefix="hand")
