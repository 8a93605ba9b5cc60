"""The RQ worker of this service: no fork for a job, so clients and connections stay warm."""

from __future__ import annotations

from types import FrameType
from typing import Any

import structlog
from rq import SimpleWorker

import jobs.collect
import jobs.finish
import jobs.start
import jobs.submit
import jobs.sweep  # noqa: F401  imported before the first job needs it
from jobs.context import context, stopping
from pipeline.errors import StorageError

log = structlog.get_logger()


class WarmWorker(SimpleWorker):
    """Runs jobs in its own process. Asked to stop, it lets the handful at work finish.

    A job cannot hurt the worker that a fork would save: it holds no state, and every wait has a time limit.
    """

    def work(self, *args: Any, **options: Any) -> bool:
        """Work until told to stop. Everything a job needs is made before the first one comes."""
        context().storage.warm()
        try:
            return super().work(*args, **options)
        finally:
            try:
                context().journal.flush()
            except StorageError as error:
                log.warning("journal_not_written", error=str(error))

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: claim nothing more."""
        stopping.set()
        super().request_stop(signum, frame)
