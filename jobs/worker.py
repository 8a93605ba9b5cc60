"""The RQ worker of this service: no fork for a job, so clients and connections stay warm."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

import structlog
from rq import SimpleWorker

import jobs.collect
import jobs.finish
import jobs.notify
import jobs.start
import jobs.submit
import jobs.sweep
import jobs.tick  # noqa: F401  imported before the first job needs it
from jobs import crew
from jobs.context import context, stopping
from pipeline.errors import StorageError

GRACE_S = 25.0
"""How long the handful at work may take to finish once a worker was asked to stop."""

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
            crew.wait_for_all()
            try:
                context().journal.flush()
            except StorageError as error:
                log.warning("journal_not_written", error=str(error))

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: claim nothing more, and be gone within half a minute."""
        if not stopping.is_set():
            stopping.set()
            last_call = threading.Timer(GRACE_S, _let_go)
            last_call.daemon = True
            last_call.start()
        super().request_stop(signum, frame)


def _let_go() -> None:
    """What is still at work takes too long, a large copy or a vendor that hangs: its lease will run out."""
    log.warning("stopped_at_work", after_s=GRACE_S)
    with suppress(StorageError):
        context().journal.flush()
    os._exit(1)
