"""The RQ worker of this service: no fork for a job, so clients and connections stay warm."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import structlog
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.worker.base import WorkerStatus

from jobs import concurrency
from jobs.context import context, stopping
from jobs.table import FUNCTIONS
from pipeline.errors import DailiesError, StorageError
from pipeline.shutdown import signal_safe_setter

GRACE_S = 25.0
"""How long the handful at work may take to finish once a worker was asked to stop."""
_JOURNAL_FLUSH_S = 3.0
_SCHEDULER_S = 5.0

log = structlog.get_logger()


class JobRefused(DailiesError):
    """The job is not in jobs.table: it was not run."""


class ListedJob(Job):
    """A job that runs only functions of `jobs.table`: a name that Redis holds is never imported."""

    @property
    def func(self) -> Callable[..., None]:
        """Return the function of this job. Raises JobRefused, and RQ moves the job to its failed jobs."""
        name = str(self.func_name)
        if name not in FUNCTIONS:
            log.error("job_refused", job=self.id, function=name)
            raise JobRefused(f"Job {self.id} names {name!r}, which is not in jobs.table: it was not run. Delete it.")
        return FUNCTIONS[name]

    # RQ imports callbacks by the names that the job's hash holds. No job of this service has callbacks.
    success_callback = failure_callback = stopped_callback = None


class NonForkingWorker(SimpleWorker):
    """Runs jobs in its own process. Asked to stop, it lets the handful at work finish.

    A job cannot hurt the worker that a fork would save: it holds no state, and every wait has a time limit.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # `rq worker` passes RQ's own class. The queues' class is used when RQ cleans up the jobs of a crashed worker.
        self.job_class = ListedJob
        for queue in self.queues:
            queue.job_class = ListedJob

    def work(self, *args: Any, **options: Any) -> bool:
        """Work until told to stop. Everything a job needs is made before the first one comes."""
        context().service.storage.connect()
        threading.Thread(target=_exit_after_grace, name="last-call", daemon=True).start()
        try:
            return super().work(*args, **options)
        finally:
            concurrency.wait_for_all()
            _write_journal()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: claim nothing more, and be gone within half a minute.

        RQ's own handler logs, writes to Redis and waits for a process, while what it has interrupted may hold the
        locks of all that. This one does nothing that waits, however many signals come.
        """
        _tell()
        if self._stop_requested:
            return
        self._stop_requested = True
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    def stop_scheduler(self) -> None:
        """End the process that looks after delayed jobs. Its locks run out by themselves: with Redis away, by force."""
        process = self.scheduler._process if self.scheduler else None
        if process is None:
            return
        process.terminate()
        process.join(_SCHEDULER_S)
        if process.is_alive():
            process.kill()
            process.join()


_tell = signal_safe_setter(stopping)


def _exit_after_grace() -> None:
    """What is still at work takes too long, a large copy or a vendor that hangs: its lease will run out."""
    stopping.wait()
    time.sleep(GRACE_S)
    log.warning("stopped_at_work", after_s=GRACE_S)
    last_words = threading.Thread(target=_write_journal, daemon=True)
    last_words.start()
    last_words.join(_JOURNAL_FLUSH_S)
    os._exit(1)


def _write_journal() -> None:
    try:
        context().service.journal.flush()
    except StorageError as error:
        log.warning("journal_not_written", error=str(error))
