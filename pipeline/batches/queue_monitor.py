"""Who works: queue and workers, as RQ knows them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from rq import Queue, Worker
from rq.cron import CronScheduler
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from pipeline.batches.job_queue import QUEUE
from pipeline.ledger import redis_client


@dataclass(frozen=True)
class WorkerRow:
    """One worker process. `job` is what it does now."""

    name: str
    host: str
    state: str
    job: str | None
    heartbeat: datetime | None
    done: int
    failed: int


@dataclass(frozen=True)
class DeadLetter:
    """A job that broke: a fault of the service. The sweep has asked for its work again."""

    id: str
    job: str
    failed: datetime | None
    why: str


@dataclass(frozen=True)
class QueueStats:
    """Jobs that wait. `oldest_s` is how long the first has waited."""

    waiting: int
    oldest_s: float
    delayed: int
    failed: int
    workers: int


class QueueMonitor:
    """Asks RQ. Every method may raise Unreachable."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis_client.connect(redis_url, decode=False)
        self._queue = Queue(QUEUE, connection=self._redis, serializer=JSONSerializer)

    def figures(self) -> QueueStats:
        """The queue in numbers."""
        return QueueStats(
            waiting=self._queue.count,
            oldest_s=self._oldest_s(),
            delayed=self._queue.scheduled_job_registry.count,
            failed=self._queue.failed_job_registry.count,
            workers=Worker.count(queue=self._queue),
        )

    def workers(self) -> Sequence[WorkerRow]:
        """Every worker that is alive."""
        found = Worker.all(queue=self._queue, serializer=JSONSerializer)
        return [
            WorkerRow(
                name=worker.name,
                host=worker.hostname or "",
                state=str(worker.get_state()),
                job=_job_of(worker),
                heartbeat=_aware(worker.last_heartbeat),
                done=worker.successful_job_count,
                failed=worker.failed_job_count,
            )
            for worker in found
        ]

    def schedulers(self) -> int:
        """How many look after what runs by the clock."""
        return len(CronScheduler.all(self._redis))

    def schedules_delayed_jobs(self) -> bool:
        """Whether a worker looks after delayed jobs."""
        return bool(self._redis.exists(RQScheduler.get_locking_key(QUEUE)))

    def dead_letters(self, most: int = 50) -> Sequence[DeadLetter]:
        """Jobs that broke in the last day, the newest first."""
        ids = self._queue.failed_job_registry.get_job_ids(0, most - 1, desc=True)
        found = Job.fetch_many(ids, connection=self._redis, serializer=JSONSerializer)
        return [DeadLetter(job.id, _job_name(job) or "", _aware(job.ended_at), _why(job)) for job in found if job]

    def requeue(self, job_id: str) -> None:
        """Have a dead letter run once more; it may be gone by now."""
        with suppress(NoSuchJobError, InvalidJobOperation):
            self._queue.failed_job_registry.requeue(job_id)

    def forget(self, job_id: str) -> None:
        """Take a dead letter off the list; it may be gone by now."""
        self._queue.failed_job_registry.remove(job_id, delete_job=True)

    def _oldest_s(self) -> float:
        ids = self._queue.get_job_ids(0, 1)
        try:
            job = Job.fetch(ids[0], connection=self._redis, serializer=JSONSerializer) if ids else None
        except NoSuchJobError:
            return 0.0
        since = _aware(job.enqueued_at) if job else None
        return max(0.0, (datetime.now(UTC) - since).total_seconds()) if since else 0.0


def _job_of(worker: BaseWorker) -> str | None:
    """What a worker does now; its job may have ended since we asked who works."""
    try:
        return _job_name(worker.get_current_job())
    except NoSuchJobError:
        return None


def _job_name(job: Job | None) -> str | None:
    """`jobs.collect.collect` is `collect`."""
    return job.func_name.rpartition(".")[2] if job and job.func_name else None


def _why(job: Job) -> str:
    """The last line of what broke it: the others are for the log."""
    result = job.latest_result()
    lines = (result.exc_string or "").strip().splitlines() if result else []
    return lines[-1] if lines else "It was abandoned."


def _aware(when: datetime | None) -> datetime | None:
    return when.replace(tzinfo=UTC) if when and when.tzinfo is None else when
