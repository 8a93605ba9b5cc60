"""The job queue: enqueues stateless RQ jobs, at most one pending job of each kind.

A thousand callbacks in a second enqueue one `collect` job. A flag in Redis marks a job as pending, and the job clears
the flag before it reads the ledger. The flag of a job that crashed expires, and the sweep enqueues the job again.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rq import Queue
from rq.serializers import JSONSerializer

from pipeline.ledger import redis_client
from pipeline.ledger.keys import job_enqueued_key

QUEUE = "dailies"
PREVIEWS_QUEUE = "dailies-previews"
"""For previews alone. Workers listen to it last: its jobs start when no other job waits."""
_PENDING_TTL_S = 15
_JOB_TIMEOUT_S = 600
FAILURE_TTL_S = 86_400
_OPTIONS: dict[str, Any] = {"job_timeout": _JOB_TIMEOUT_S, "result_ttl": 0, "failure_ttl": FAILURE_TTL_S}


class Job(StrEnum):
    """Every job that workers run. The value is the path of its function, as RQ stores it; see `jobs.registry`."""

    START = "jobs.start.start"
    SUBMIT = "jobs.submit.submit"
    COLLECT = "jobs.collect.collect"
    FIND_LOST_RUNS = "jobs.find_lost_runs.find_lost_runs"
    FINISH = "jobs.finish.finish"
    SWEEP = "jobs.sweep.sweep"
    DELIVER_NOTIFICATIONS = "jobs.deliver_notifications.deliver_notifications"
    RUN_SCHEDULES = "jobs.run_schedules.run_schedules"
    WRITE_STATUS_FILES = "jobs.write_status_files.write_status_files"
    ARCHIVE_BATCHES = "jobs.archive_batches.archive_batches"
    MAKE_PREVIEWS = "jobs.make_previews.make_previews"


class JobQueue:
    """Enqueues jobs in RQ. Thread-safe."""

    def __init__(
        self, redis_url: str, *, retry_timeout_s: float = 0, socket_timeout_s: float = redis_client.SOCKET_TIMEOUT_S
    ) -> None:
        self._redis: Any = redis_client.connect(
            redis_url, decode=False, retry_timeout_s=retry_timeout_s, socket_timeout_s=socket_timeout_s
        )
        self._last_delayed: dict[Job, int] = {}
        self._queue = Queue(QUEUE, connection=self._redis, serializer=JSONSerializer)
        self._previews_queue = Queue(PREVIEWS_QUEUE, connection=self._redis, serializer=JSONSerializer)

    def enqueue_once(self, job: Job, *args: str) -> None:
        """Enqueue `job` to run now, unless the same job with the same `args` is pending."""
        if self._redis.set(_enqueued_key(job, *args), 1, nx=True, ex=_PENDING_TTL_S):
            self._queue.enqueue(job.value, *args, **_OPTIONS)

    def enqueue_in(self, job: Job, delay_s: float, *args: str) -> None:
        """Enqueue `job` to run in `delay_s` seconds, rounded up to a whole second: one job for each second."""
        if delay_s <= 0:
            self.enqueue_once(job, *args)
            return
        delay = math.ceil(delay_s)
        second = math.ceil(time.time() + delay_s)
        if not args and self._last_delayed.get(job) == second:
            # Many runs in a row have the same delay: skip the request to Redis.
            return
        if not args:
            self._last_delayed[job] = second
        if self._redis.set(_enqueued_key(job, *args, f"@{second}"), 1, nx=True, ex=delay + _PENDING_TTL_S):
            # At that second, not `delay` from now: a job that runs too early finds nothing due and cannot be enqueued
            # for the same second again.
            self._queue.enqueue_at(datetime.fromtimestamp(second, UTC), job.value, *args, **_OPTIONS)

    def enqueue_previews(self) -> None:
        """Enqueue the job that makes previews, unless it is pending, or at work.

        Without workers for its queue, the queue does not grow.
        """
        is_new = self._redis.set(_enqueued_key(Job.MAKE_PREVIEWS), 1, nx=True, ex=_PENDING_TTL_S)
        if is_new and self._previews_queue.count == 0:
            self._previews_queue.enqueue(Job.MAKE_PREVIEWS.value, **_OPTIONS)

    def clear_pending(self, job: Job, *args: str) -> None:
        """Mark `job` as begun: from now on `enqueue_once` enqueues another one."""
        self._redis.delete(_enqueued_key(job, *args))


def _enqueued_key(job: Job, *args: str) -> str:
    return job_enqueued_key(job.name.lower(), *args)
