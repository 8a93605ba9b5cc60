"""Callbacks that arrive during a call to Redis are recorded together by the next call."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from pipeline.batches.job_queue import Job, JobQueue
from pipeline.domain.callback_tokens import RunId
from pipeline.errors import Unreachable
from pipeline.ledger.runs import RunStore

MAX_GROUP = 256
_MAX_WAIT_S = 90.0
"""Longer than the time limits of Redis calls, which end every wait earlier."""

_Callback = tuple[RunId, str, str]


class CallbackWriter:
    """Records callbacks for many threads: one thread calls Redis for all that wait. Thread-safe."""

    def __init__(self, runs: RunStore, job_queue: JobQueue) -> None:
        self._runs = runs
        self._job_queue = job_queue
        self._waiting: SimpleQueue[tuple[_Callback, Future[None]]] = SimpleQueue()
        Thread(target=self._write, name="callbacks", daemon=True).start()

    def record(self, run: RunId, task_id: str, token: str) -> None:
        """Record a callback for `run` and enqueue a `collect` job if there is a run to check.

        `task_id` and `token`: what the callback names, or ''. Raises Unreachable: Redis does not have the callback.
        """
        recorded: Future[None] = Future()
        self._waiting.put(((run, task_id, token), recorded))
        try:
            recorded.result(_MAX_WAIT_S)
        except TimeoutError:
            raise Unreachable("Redis did not respond in time. Check REDIS_URL and the Redis server.") from None

    def _write(self) -> None:
        while True:
            group = [self._waiting.get()]
            with suppress(Empty):
                while len(group) < MAX_GROUP:
                    group.append(self._waiting.get_nowait())
            try:
                self._record([callback for callback, _ in group])
            except Unreachable as error:  # every thread of the group gets it
                for _, recorded in group:
                    recorded.set_exception(error)
            except Exception:
                # One of them may be the reason: only its own thread gets the error.
                for callback, recorded in group:
                    self._record_one(callback, recorded)
            else:
                for _, recorded in group:
                    recorded.set_result(None)

    def _record_one(self, callback: _Callback, recorded: Future[None]) -> None:
        try:
            self._record([callback])
        except Exception as error:
            recorded.set_exception(error)
        else:
            recorded.set_result(None)

    def _record(self, callbacks: list[_Callback]) -> None:
        due = self._runs.record_callbacks(callbacks)
        if due.collect:
            self._job_queue.enqueue_once(Job.COLLECT)
        if due.search:
            self._job_queue.enqueue_once(Job.FIND_LOST_RUNS)
