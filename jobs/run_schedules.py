"""The `run_schedules` job: starts the batches of due schedule occurrences. Cron enqueues it every minute."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from jobs.context import RETRY_TIMEOUT_S, context
from pipeline.batches.job_queue import Job
from pipeline.schedules.scheduler import Scheduler

_CRON_INTERVAL_S = 60


def run_schedules(now: datetime | None = None) -> None:
    """Start what is due at `now`, by default the time of Redis. Enqueue this job for what is due before cron's next."""
    job_queue = context().service.job_queue
    job_queue.clear_pending(Job.RUN_SCHEDULES)
    scheduler = _scheduler()
    following = scheduler.start_due(now or scheduler.store.now())
    if following is None:
        return
    delay_s = (following - scheduler.store.now()).total_seconds()
    if delay_s < _CRON_INTERVAL_S:
        job_queue.enqueue_in(Job.RUN_SCHEDULES, delay_s)


@lru_cache(maxsize=1)
def _scheduler() -> Scheduler:
    return Scheduler.of(context().service, retry_timeout_s=RETRY_TIMEOUT_S)
