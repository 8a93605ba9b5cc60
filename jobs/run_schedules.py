"""`tick`: batches whose time has come, run every minute by any number of schedulers."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from jobs.context import PATIENCE_S, context
from pipeline.schedules.scheduler import Scheduler

_BEAT_S = 60
"""The schedulers come by themselves this often."""


def run_schedules(now: datetime | None = None) -> None:
    """Start what is due at `now`, by default the ledger's time; what is due before the next minute wakes this job."""
    ctx = context()
    ctx.waker.begun("run_schedules")
    scheduler = _scheduler()
    following = scheduler.tick(now or scheduler.states.now())
    if following is None:
        return
    delay_s = (following - scheduler.states.now()).total_seconds()
    if delay_s < _BEAT_S:
        ctx.waker.wake_in("run_schedules", delay_s)


@lru_cache(maxsize=1)
def _scheduler() -> Scheduler:
    return Scheduler.of(context().service, patience_s=PATIENCE_S)
