"""Runs whose response was lost: when to search for their tasks, and the data for the search."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from pipeline.domain.callback_tokens import RunId
from pipeline.ledger import keys
from pipeline.ledger.decoding import lost_run
from pipeline.ledger.records import LostRun, LostRuns
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import decode_runs
from pipeline.ledger.times import moment_ms, ms, seconds, server_time

_PROBLEM_KEPT_S = 86_400


class LostRunStore:
    """Leases the search for lost runs: one process at a time searches. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def has_due(self) -> bool:
        """Return whether a run is due for a search."""
        return bool(self._redis.zcount(keys.SEARCH, "-inf", moment_ms(server_time(self._redis))))

    def claim(self, limit: int, *, lease_s: float, max_wait_s: float) -> LostRuns:
        """Lease the search for up to `limit` runs that are due. No runs: none is due, or another process searches.

        Each run is due again, first after 2 s, then after twice the wait, at most `max_wait_s`, while it may be found.
        """
        lease = uuid4().hex
        wait, rows = self._scripts.run("claim_lost_runs", limit, ms(lease_s), lease, ms(max_wait_s))
        runs = decode_runs(self._scripts, keys.SEARCH, rows, lost_run)
        return LostRuns([run for run in runs if run], lease, seconds(wait))

    def renew(self, claimed: LostRuns, *, lease_s: float) -> bool:
        """Renew the lease of a search for `lease_s` from now. Returns False if it was lost."""
        return bool(self._scripts.run("renew_search", claimed.lease, ms(lease_s)) == 1)

    def release(self, claimed: LostRuns) -> None:
        """Release the lease of a search."""
        self._scripts.run("release_search", claimed.lease)

    def unanswered(self, limit: int) -> list[LostRun] | None:
        """Return the runs that are being posted, and all unknown ones. None if there are more than `limit`."""
        is_complete, rows = self._scripts.run("unanswered_runs", limit)
        return [run for run in decode_runs(self._scripts, keys.LOST, rows, lost_run) if run] if is_complete else None

    def now(self) -> datetime:
        """Return the server's time."""
        return server_time(self._redis)

    def accepted_tasks(self, since: datetime, before: datetime) -> set[str]:
        """Return the tasks (ids, or tokens without an id) of runs that the vendor accepted between two times."""
        return set(self._redis.zrangebyscore(keys.TASKS, moment_ms(since), moment_ms(before)))

    def record_search(self, runs: Sequence[RunId]) -> None:
        """Record that unknown runs are not in the vendor's list of tasks, which was read as a whole."""
        if runs:
            self._scripts.run("record_search", *(part for run in runs for part in (run.batch, run.item, run.attempt)))

    def record_problem(self, problem: str) -> None:
        """Store why the vendor's list of tasks could not be read as a whole; '' if it could."""
        if problem:
            self._redis.set(keys.TASK_LIST_PROBLEM, problem, ex=_PROBLEM_KEPT_S)
        else:
            self._redis.delete(keys.TASK_LIST_PROBLEM)

    def problem(self) -> str:
        """Return why the last search for lost runs could not read the vendor's list as a whole; '' if it could."""
        return self._redis.get(keys.TASK_LIST_PROBLEM) or ""

    def known_tasks(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are tasks (ids, or tokens without an id) of runs that the vendor accepted."""
        if not ids:
            return set()
        scores = self._redis.zmscore(keys.TASKS, ids)
        return {task for task, score in zip(ids, scores, strict=True) if score is not None}
