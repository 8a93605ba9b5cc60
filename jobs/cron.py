"""RQ's cron scheduler with the periodic jobs. Any number may run: running a job twice is harmless.

python -m jobs.cron
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import structlog
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from rq import Queue
from rq.cron import CronJob, CronScheduler
from rq.exceptions import SchedulerNotFound, StopRequested
from rq.serializers import JSONSerializer

from jobs.run_schedules import run_schedules
from jobs.sweep import sweep
from pipeline.batches.job_queue import FAILURE_TTL_S, QUEUE
from pipeline.errors import DailiesError, exit_in_words
from pipeline.ledger.redis_client import NO_RETRY, RQRedis, unreachable
from pipeline.observability import logging
from pipeline.settings import load

log = structlog.get_logger()

_MIN_TTL_S = 120
"""Without a worker, jobs expire and do not pile up. A busy worker still finds one when it is free."""


class JSONCronScheduler(CronScheduler):
    """RQ's cron scheduler. Its jobs are JSON: RQ 3.0 pickles them, and workers must never unpickle Redis data."""

    def enqueue_jobs(self) -> list[CronJob]:
        """Enqueue the jobs that are due. Return them."""
        queue = Queue(QUEUE, connection=self.connection, serializer=JSONSerializer)
        enqueue_time = datetime.now(UTC)
        due = [job for job in self.get_jobs() if job.should_run()]
        for job in due:
            try:
                queue.enqueue(job.func_name, **job.job_options)
            except (RedisError, DailiesError, StopRequested):
                raise
            except Exception:
                # The others go on, and this one is enqueued when it is due again.
                log.exception("job_not_enqueued", job=job.func_name)
            else:
                log.info("job_enqueued", job=job.func_name)
            job.set_enqueue_time(enqueue_time)
        return due

    def start(self) -> None:
        """Enqueue jobs when they are due, until SIGTERM or SIGINT."""
        try:
            super().start()  # type: ignore[no-untyped-call]
        except StopRequested:  # the signal arrived before RQ handles it, perhaps with the registry joined
            self.register_death()

    def register_birth(self) -> None:
        """Join RQ's registry. From here on only the first stop signal counts.

        RQ's own handler, installed just before, raises at every signal: a second one would interrupt the shutdown.
        """
        _handle_stop_signals(_stop_once)
        super().register_birth()

    def register_death(self, pipeline: Pipeline | None = None) -> None:
        """Leave RQ's registry. If Redis is away, the entry expires: do not wait for it."""
        self.connection.set_retry(NO_RETRY)
        with suppress(ConnectionError, TimeoutError, SchedulerNotFound):
            super().register_death(pipeline)


def _stop_once(_signum: int, _frame: FrameType | None) -> None:
    _handle_stop_signals(signal.SIG_IGN)
    raise StopRequested


def _handle_stop_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def scheduler(connection: Redis, *, sweep_every_s: int) -> JSONCronScheduler:
    """Return a scheduler that enqueues `sweep` every `sweep_every_s` seconds and `run_schedules` every minute."""
    cron = JSONCronScheduler(connection)
    ttl_s = max(_MIN_TTL_S, 2 * sweep_every_s)
    # RQ would keep a failed job for a year.
    kept: dict[str, Any] = {"result_ttl": 0, "failure_ttl": FAILURE_TTL_S}
    cron.register(sweep, queue_name=QUEUE, interval=sweep_every_s, ttl=ttl_s, **kept)
    cron.register(run_schedules, queue_name=QUEUE, cron="* * * * *", ttl=_MIN_TTL_S, **kept)
    return cron


def main() -> None:
    """Run the scheduler until SIGTERM or SIGINT, or until Redis has been unavailable for a minute."""
    with exit_in_words():
        settings = load()
        connection = RQRedis.from_url(settings.redis_url)
        try:
            scheduler(connection, sweep_every_s=settings.sweep_every_s).start()
        except (ConnectionError, TimeoutError) as error:
            raise unreachable(connection, error) from error


if __name__ == "__main__":
    logging.configure()
    main()
