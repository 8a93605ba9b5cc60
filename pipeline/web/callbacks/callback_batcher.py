"""Bells rung together: callbacks that come while others are on their way to Redis go with the next ones.

Alone a callback goes at once. In a rush a thread takes what has gathered along with its own, so that the rush costs a
fraction of the round trips, and nobody is told that it was heard before Redis has it.
"""

from __future__ import annotations

import threading

from pipeline.batches.job_queue import Job, JobQueue
from pipeline.domain.callback_tokens import RunId
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger

MAX_CONCURRENT = 256
_MAX_S = 90.0
"""Longer than Redis' own time limits: they end every wait before this does."""


class _Bell:
    """One callback. `turn` is a lock that is given back when its thread may go on."""

    __slots__ = ("call", "error", "leads", "turn")

    def __init__(self, run: RunId, task: str, token: str) -> None:
        self.call = (run, task, token)
        self.leads = False
        self.error: Exception | None = None
        self.turn = threading.Lock()
        self.turn.acquire()


class Bells:
    """Rings for many threads at once."""

    def __init__(self, ledger: Ledger, job_queue: JobQueue) -> None:
        self._ledger = ledger
        self._waker = job_queue
        self._changing = threading.Lock()
        self._waiting: list[_Bell] = []
        self._somebody_leads = False

    def ring(self, run: RunId, task: str, token: str) -> None:
        """A callback came for `run`; `task` and `token` are what it claims. Raises Unreachable: Redis has it not."""
        bell = _Bell(run, task, token)
        with self._changing:
            self._waiting.append(bell)
            bell.leads = not self._somebody_leads
            self._somebody_leads = True
        if not bell.leads and not bell.turn.acquire(timeout=_MAX_S):
            raise Unreachable("Redis did not answer in time.")
        if bell.leads:
            self._lead()
        if bell.error is not None:
            raise bell.error

    def _lead(self) -> None:
        """Ring what waits, this thread's own among it, and hand on to the first that has come meanwhile."""
        with self._changing:
            together, self._waiting = self._waiting[:MAX_CONCURRENT], self._waiting[MAX_CONCURRENT:]
        error: Exception | None = None
        try:
            if self._ledger.runs.record_callbacks([bell.call for bell in together]):
                self._waker.enqueue_once(Job.COLLECT)
        except Exception as failure:  # whatever it is, the others are not left waiting for it
            error = failure
        with self._changing:
            if isinstance(error, Unreachable):
                # Nobody else is to wait as long for the same answer.
                together, self._waiting = together + self._waiting, []
            self._somebody_leads = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].turn.release()
        for bell in together:
            bell.error = error
            bell.turn.release()
