"""The queue, its workers and its schedulers, read from RQ's data in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from rq import Queue, Worker
from rq.cron import CronScheduler
from rq.exceptions import DeserializationError, InvalidJobOperation, NoSuchJobError
from rq.job import Job
from rq.registry import FailedJobRegistry
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer
from rq.suspension import is_suspended
from rq.worker import BaseWorker

from pipeline.batches.job_queue import PREVIEWS_QUEUE, QUEUE
from pipeline.batches.stored_job import StoredJob
from pipeline.domain.ids import is_job_id
from pipeline.ledger import redis_client
from pipeline.ledger.redis_client import CommandRefused

_MAX_NAME = 100


@dataclass(frozen=True)
class WorkerRow:
    """One worker process. `job` is its current job, None if idle."""

    name: str
    host: str
    state: str
    job: str | None
    heartbeat: datetime | None
    done: int
    failed: int


@dataclass(frozen=True)
class FailedJob:
    """A job that raised an error: a fault of the service. The sweep has enqueued its work again."""

    id: str
    job: str
    failed: datetime | None
    why: str


@dataclass(frozen=True)
class QueueStats:
    """Numbers of jobs by state. `oldest_s`: how many seconds the first waiting job has waited."""

    waiting: int
    oldest_s: float
    delayed: int
    failed: int
    workers: int


class QueueMonitor:
    """Reads RQ's data. Every method may raise Unreachable."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis_client.connect(redis_url, decode=False)
        queues = [
            Queue(name, connection=self._redis, serializer=JSONSerializer, job_class=StoredJob)
            for name in (QUEUE, PREVIEWS_QUEUE)
        ]
        self._queue = queues[0]
        self._failed = [queue.failed_job_registry for queue in queues]

    def figures(self) -> QueueStats:
        """Return the numbers of jobs and workers: those of the previews' queue count only if they failed."""
        return QueueStats(
            waiting=self._queue.count,
            oldest_s=self._oldest_s(),
            delayed=self._queue.scheduled_job_registry.count,
            failed=sum(registry.count for registry in self._failed),
            workers=Worker.count(queue=self._queue),
        )

    def workers(self) -> Sequence[WorkerRow]:
        """Return every registered worker whose record can be read."""
        rows = []
        for key in Worker.all_keys(queue=self._queue):
            with suppress(CommandRefused, ValueError, TypeError):
                worker = Worker.find_by_key(key, connection=self._redis, job_class=StoredJob, serializer=JSONSerializer)
                rows += [_worker_row(worker)] if worker else []
        return rows

    def schedulers(self) -> int:
        """Return the number of cron schedulers."""
        return len(CronScheduler.all(self._redis))

    def schedules_delayed_jobs(self) -> bool:
        """Return whether a worker enqueues delayed jobs."""
        return bool(self._redis.exists(RQScheduler.get_locking_key(QUEUE)))

    def is_suspended(self) -> bool:
        """Return whether `rq suspend` stops all workers from taking jobs."""
        return bool(is_suspended(self._redis))

    def failed_jobs(self, limit: int = 50) -> Sequence[FailedJob]:
        """Return the jobs that failed in the last day, those of each queue newest first."""
        ids = [job_id for registry in self._failed for job_id in registry.get_job_ids(0, limit - 1, desc=True)]
        failed = []
        for job_id in filter(is_job_id, ids):
            with suppress(NoSuchJobError, CommandRefused):
                job = StoredJob.fetch(job_id, connection=self._redis, serializer=JSONSerializer)
                failed.append(FailedJob(job.id, _job_name(job) or "", _aware(job.ended_at), _last_error_line(job)))
        return failed

    def requeue(self, job_id: str) -> None:
        """Enqueue a failed job again. Do nothing if it is gone."""
        for registry in self._failed_with(job_id):
            with suppress(NoSuchJobError, InvalidJobOperation):
                registry.requeue(job_id)

    def forget(self, job_id: str) -> None:
        """Delete a failed job. Do nothing if it is gone."""
        for registry in self._failed_with(job_id):
            registry.remove(job_id, delete_job=True)

    def _failed_with(self, job_id: str) -> list[FailedJobRegistry]:
        return [registry for registry in self._failed if is_job_id(job_id) and job_id in registry]

    def _oldest_s(self) -> float:
        ids = self._queue.get_job_ids(0, 1)
        try:
            job = StoredJob.fetch(ids[0], connection=self._redis, serializer=JSONSerializer) if ids else None
        except NoSuchJobError:
            return 0.0
        enqueued = _aware(job.enqueued_at) if job else None
        return max(0.0, (datetime.now(UTC) - enqueued).total_seconds()) if enqueued else 0.0


def _worker_row(worker: BaseWorker) -> WorkerRow:
    return WorkerRow(
        name=worker.name,
        host=worker.hostname or "",
        state=str(worker.get_state()),
        job=_current_job(worker),
        heartbeat=_aware(worker.last_heartbeat),
        done=worker.successful_job_count,
        failed=worker.failed_job_count,
    )


def _current_job(worker: BaseWorker) -> str | None:
    """Return the name of the worker's job. It may have ended since the worker was read."""
    try:
        return _job_name(worker.get_current_job())
    except NoSuchJobError:
        return None


def _job_name(job: Job | None) -> str | None:
    """Return `collect` for `jobs.collect.collect`; None if the job cannot be read."""
    try:
        return str(job.func_name).rpartition(".")[2][:_MAX_NAME] if job and job.func_name else None
    except DeserializationError:
        return None


def _last_error_line(job: Job) -> str:
    """Return the last line of the traceback. The log has the others."""
    result = job.latest_result()
    lines = (result.exc_string or "").strip().splitlines() if result else []
    return lines[-1] if lines else "The worker exited during the job."


def _aware(when: datetime | None) -> datetime | None:
    return when.replace(tzinfo=UTC) if when and when.tzinfo is None else when
