"""The RQ worker of this service: no fork for a job, so clients and connections stay warm."""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING, Any

from rq import SimpleWorker

from jobs.context import stopping

if TYPE_CHECKING:
    _Base = Any
else:
    _Base = SimpleWorker


class WarmWorker(_Base):
    """Runs jobs in its own process. Asked to stop, it lets the handful at work finish.

    A job cannot hurt the worker that a fork would save: it holds no state, and every wait has a time limit.
    """

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: claim nothing more."""
        stopping.set()
        super().request_stop(signum, frame)
