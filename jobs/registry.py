"""The jobs that workers run. A worker refuses every other job in the queue: it neither imports nor calls it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import structlog
from rq.exceptions import DeserializationError
from rq.job import Job as RqJob

from jobs.archive_batches import archive_batches
from jobs.collect import collect
from jobs.context import context
from jobs.deliver_notifications import deliver_notifications
from jobs.find_lost_runs import find_lost_runs
from jobs.finish import finish
from jobs.make_previews import make_previews
from jobs.run_schedules import run_schedules
from jobs.start import start
from jobs.submit import submit
from jobs.sweep import sweep
from jobs.write_status_files import write_status_files
from pipeline.batches.job_queue import Job
from pipeline.batches.stored_job import StoredJob, UnreadableJob
from pipeline.domain.ids import is_batch_id
from pipeline.errors import DailiesError, Unreachable
from pipeline.observability.line_limit import LineLimit

log = structlog.get_logger()

FUNCTIONS: Mapping[str, Callable[..., None]] = {
    Job.START: start,
    Job.SUBMIT: submit,
    Job.COLLECT: collect,
    Job.FIND_LOST_RUNS: find_lost_runs,
    Job.FINISH: finish,
    Job.SWEEP: sweep,
    Job.DELIVER_NOTIFICATIONS: deliver_notifications,
    Job.RUN_SCHEDULES: run_schedules,
    Job.WRITE_STATUS_FILES: write_status_files,
    Job.ARCHIVE_BATCHES: archive_batches,
    Job.MAKE_PREVIEWS: make_previews,
    # The release before names three jobs differently, and a rolling upgrade can find them in the queue.
    # `jobs.tick.tick` and `jobs.notify.notify` are refused: cron and the sweep enqueue their work again.
    # Nothing enqueues a status report again, so its old name stays valid.
    "jobs.report.report": write_status_files,
}
"""Path of the function, as RQ stores it → the function."""

_ARGUMENTS: Mapping[str, Callable[[str], bool]] = {
    "batch_id": is_batch_id,
    "retries": lambda text: text in map(str, range(100)),
}
"""Name of a parameter of these functions → which texts it takes."""


_refusals = LineLimit()


class JobRefused(DailiesError):
    """The job is not one of this service: it was not run."""


class ListedJob(StoredJob):
    """A job that runs only the functions in FUNCTIONS: a name that Redis holds is never imported."""

    @classmethod
    def fetch(cls, id: str, connection: Any = None, serializer: Any = None) -> RqJob:
        """Return the job with this id. Raises NoSuchJobError; the worker then goes on with the next job."""
        try:
            return super().fetch(id, connection=connection, serializer=serializer)
        except UnreadableJob as error:
            _record_refusal(id, str(error))
            raise

    @property
    def func(self) -> Callable[..., None]:
        """Return the function of this job. Raises JobRefused, and RQ moves the job to its failed jobs."""
        name = str(self.func_name)
        if name not in FUNCTIONS:
            raise JobRefused(f"Job {self.id} names {name[:200]!r}, which is not in jobs.registry. Delete it.")
        if self.kwargs != {} or not _takes(FUNCTIONS[name], self.args):
            raise JobRefused(f"Job {self.id} has arguments that {name!r} does not take. Delete it.")
        return FUNCTIONS[name]


def _takes(function: Callable[..., None], args: Any) -> bool:
    if not isinstance(args, list | tuple):
        return False
    try:
        arguments = inspect.signature(function).bind(*args).arguments
    except TypeError:
        return False
    return all(
        isinstance(value, str) and name in _ARGUMENTS and _ARGUMENTS[name](value) for name, value in arguments.items()
    )


def report_refusal(job: StoredJob, _kind: type[Exception], error: Exception, _traceback: TracebackType | None) -> None:
    """Count and log a job that was refused. RQ calls this for every job that failed."""
    if isinstance(error, JobRefused | DeserializationError):
        _record_refusal(job.id, str(error) or "Its data cannot be read.")


def _record_refusal(job_id: str, reason: str) -> None:
    if (left_out := _refusals.take()) is not None:
        log.error("job_refused", job=job_id, reason=reason, left_out=left_out)
    with suppress(Unreachable):
        context().service.ledger.counters.count_refused_job()
