"""`tick`: batches whose time has come, run every minute by any number of schedulers."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from jobs.context import RETRY_TIMEOUT_S, context
from pipeline.batches.job_queue import Job
from pipeline.schedules.scheduler import Scheduler

_CRON_INTERVAL_S = 60
"""The schedulers come by themselves this often."""


def run_schedules(now: datetime | None = None) -> None:
    """Start what is due at `now`, by default the ledger's time; what is due before the next minute wakes this job."""
    ctx = context()
    ctx.job_queue.clear_pending(Job.RUN_SCHEDULES)
    scheduler = _scheduler()
    following = scheduler.start_due(now or scheduler.states.now())
    if following is None:
        return
    delay_s = (following - scheduler.states.now()).total_seconds()
    if delay_s < _CRON_INTERVAL_S:
        ctx.job_queue.enqueue_in(Job.RUN_SCHEDULES, delay_s)


@lru_cache(maxsize=1)
def _scheduler() -> Scheduler:
    return Scheduler.of(context().service, retry_timeout_s=RETRY_TIMEOUT_S)
