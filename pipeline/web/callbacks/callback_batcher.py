"""Callbacks that arrive during a call to Redis are recorded together by the next call."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from pipeline.batches.job_queue import Job, JobQueue
from pipeline.domain.callback_tokens import RunId
from pipeline.errors import Unreachable
from pipeline.ledger.runs import RunStore

MAX_BATCH = 256
_MAX_WAIT_S = 90.0
"""Longer than the time limits of Redis calls, which end every wait earlier."""


@dataclass(eq=False)
class _Call:
    """One callback. `turn` is locked until the callback is recorded, has failed, or its thread becomes the leader."""

    args: tuple[RunId, str, str]
    is_leader: bool = False
    error: Exception | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)


class CallbackBatcher:
    """Records callbacks for many threads: one thread, the leader, calls Redis for all that wait. Thread-safe."""

    def __init__(self, runs: RunStore, job_queue: JobQueue) -> None:
        self._runs = runs
        self._job_queue = job_queue
        self._lock = threading.Lock()
        self._waiting: list[_Call] = []
        self._has_leader = False

    def record(self, run: RunId, task: str, token: str) -> None:
        """Record a callback for `run` and enqueue a `collect` job if there is a run to check.

        `task` and `token`: the task id and token that the callback names, or ''. Raises Unreachable: Redis does not
        have the callback.
        """
        call = _Call((run, task, token))
        call.turn.acquire()
        with self._lock:
            self._waiting.append(call)
            call.is_leader = not self._has_leader
            self._has_leader = True
        if not call.is_leader and not call.turn.acquire(timeout=_MAX_WAIT_S):
            raise Unreachable("Redis did not respond in time. Check REDIS_URL and the Redis server.")
        if call.is_leader:
            self._record_batch()
        if call.error is not None:
            raise call.error

    def _record_batch(self) -> None:
        """Record the waiting callbacks, then make the first of the later ones the leader."""
        with self._lock:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        error: Exception | None = None
        try:
            if self._runs.record_callbacks([call.args for call in batch]):
                self._job_queue.enqueue_once(Job.COLLECT)
        except Exception as failure:  # every thread of the batch gets it
            error = failure
        with self._lock:
            if isinstance(error, Unreachable):
                # The callbacks that arrived meanwhile would wait as long for the same error.
                batch, self._waiting = batch + self._waiting, []
            self._has_leader = bool(self._waiting)
            if self._waiting:
                self._waiting[0].is_leader = True
                self._waiting[0].turn.release()
        for call in batch:
            call.error = error
            call.turn.release()
