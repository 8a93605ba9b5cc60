"""Wake-ups: RQ jobs without state, at most one of a kind under way.

A thousand callbacks in a second ask for one `collect` job, not for a thousand: a flag in Redis says that one is on
its way, and the job takes the flag down before it looks at the ledger. A flag whose job died ends by itself, and the
sweep asks again.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Any

from rq import Queue
from rq.serializers import JSONSerializer

from pipeline.ledger import redis_client
from pipeline.ledger.keys import job_enqueued_key

QUEUE = "dailies"
_PENDING_TTL_S = 15
_JOB_TIMEOUT_S = 600
_FAILURE_TTL_S = 86_400


class JobQueue:
    """Asks workers to do a kind of work. `job` is a module of `jobs` and its function of the same name."""

    def __init__(
        self, redis_url: str, *, retry_timeout_s: float = 0, socket_timeout_s: float = redis_client.SOCKET_TIMEOUT_S
    ) -> None:
        self._redis: Any = redis_client.connect(
            redis_url, decode=False, retry_timeout_s=retry_timeout_s, socket_timeout_s=socket_timeout_s
        )
        self._asked: dict[str, int] = {}
        self._queue = Queue(QUEUE, connection=self._redis, serializer=JSONSerializer)

    def enqueue_once(self, job: str, *args: str) -> None:
        """Have `job` run now, unless one that has not begun is on its way."""
        if self._redis.set(job_enqueued_key(job, *args), 1, nx=True, ex=_PENDING_TTL_S):
            self._queue.enqueue(f"jobs.{job}.{job}", *args, **_OPTIONS)

    def enqueue_in(self, job: str, delay_s: float, *args: str) -> None:
        """Have `job` run in `delay_s` seconds, rounded up; once for all that ask for the same second."""
        if delay_s <= 0:
            self.enqueue_once(job, *args)
            return
        delay = math.ceil(delay_s)
        second = math.ceil(time.time() + delay_s)
        if not args and self._asked.get(job) == second:
            # Asked for by this process already: many runs in a row wait equally long.
            return
        if not args:
            self._asked[job] = second
        if self._redis.set(job_enqueued_key(job, *args, f"@{second}"), 1, nx=True, ex=delay + _PENDING_TTL_S):
            # At that very second, not `delay` from now: a job that comes too early finds nothing due, and cannot ask
            # for the same second again.
            self._queue.enqueue_at(datetime.fromtimestamp(second, UTC), f"jobs.{job}.{job}", *args, **_OPTIONS)

    def clear_pending(self, job: str, *args: str) -> None:
        """The job has begun: whoever asks from now on gets another one."""
        self._redis.delete(job_enqueued_key(job, *args))


_OPTIONS: dict[str, Any] = {"job_timeout": _JOB_TIMEOUT_S, "result_ttl": 0, "failure_ttl": _FAILURE_TTL_S}
