"""The RQ worker of this service. It runs jobs without a fork, so clients and connections stay open."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from types import FrameType
from typing import Any

import structlog
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.worker import WorkerStatus

from jobs import make_previews, worker_slots
from jobs.context import context, stopping
from jobs.registry import ListedJob, report_refusal
from pipeline.errors import DailiesError, StorageError
from pipeline.ledger.redis_client import NO_RETRY
from pipeline.shutdown import signal_safe_setter

GRACE_S = 25.0
"""How many seconds leased items may take to finish after a stop signal."""
_JOURNAL_FLUSH_S = 3.0
_SCHEDULER_STOP_S = 5.0

log = structlog.get_logger()
_set_stopping = signal_safe_setter(stopping)


class NonForkingWorker(SimpleWorker):
    """Runs jobs in its own process. After SIGTERM or SIGINT it finishes the leased items and exits within 30 s.

    A job needs no fork for protection: it holds no state, and every wait has a time limit.
    """

    _stop_signalled = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.push_exc_handler(report_refusal)
        # `rq worker` passes RQ's own class. The queues' class is used when RQ cleans up the jobs of a crashed worker.
        self.job_class = ListedJob
        for queue in self.queues:
            queue.job_class = ListedJob

    def work(self, *args: Any, **options: Any) -> bool:
        """Run jobs until a stop signal. Create every client before the first job."""
        try:
            context().service.storage.connect()
        except DailiesError as error:
            log.error("worker_not_started", error=str(error))
            raise SystemExit(error.exit_code) from None
        threading.Thread(target=_exit_after_grace, name="exit-after-grace", daemon=True).start()
        try:
            return super().work(*args, **options)
        finally:
            worker_slots.wait_for_all()
            make_previews.wait_until_stopped()
            _flush_journal()

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run `job`. Raise StopRequested if a stop signal arrived meanwhile."""
        super().execute_job(job, queue)
        if self._stop_signalled:
            raise StopRequested

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT: lease no more items, and stop after the current job.

        RQ's own handler logs, writes to Redis and joins a process. The interrupted code may hold the locks of all
        three, so this handler does nothing that waits, however many signals arrive.
        """
        _set_stopping()
        if self._stop_signalled:
            return
        self._stop_signalled = True
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    def teardown(self) -> None:
        """Stop the scheduler and leave RQ's registry. If Redis is away, the entry expires: do not wait for it."""
        self.connection.set_retry(NO_RETRY)
        super().teardown()

    def stop_scheduler(self) -> None:
        """Stop RQ's scheduler process, the only child. Kill it after 5 s: while Redis is away, it does not stop."""
        for process in multiprocessing.active_children():
            process.terminate()
            process.join(_SCHEDULER_STOP_S)
            if process.is_alive():
                process.kill()
                process.join()


def _exit_after_grace() -> None:
    """Exit 25 s after a stop signal. The leases of what still runs, such as a large copy, expire."""
    stopping.wait()
    time.sleep(GRACE_S)
    log.warning("worker_exited_busy", after_s=GRACE_S)
    flush = threading.Thread(target=_flush_journal, daemon=True)
    flush.start()
    flush.join(_JOURNAL_FLUSH_S)
    os._exit(1)


def _flush_journal() -> None:
    try:
        context().service.journal.flush()
    except StorageError as error:
        log.warning("journal_not_written", error=str(error))
