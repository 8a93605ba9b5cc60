"""Starts, defers or skips the waiting occurrences of one schedule, under a lease."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

import structlog

from pipeline.errors import DailiesError, StorageError, SubmissionInterrupted, Unreachable
from pipeline.schedules.occurrences import Occurrence, batch_id, occurrence_text
from pipeline.schedules.overlap import Action, OverlapDecision, overlap_decision
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.store import Did, Record, ScheduleStore
from pipeline.schedules.submission import ScheduleSubmission

log = structlog.get_logger()

MAX_STARTS = 20
"""After so many batches of one schedule, the other schedules are served first."""
MAX_ATTEMPTS = 10
"""How often a batch is attempted if the failure is retryable: for about an hour."""
_FIRST_RETRY_S = 30
_MAX_RETRY_S = 600
_MAX_REASON = 2000


@dataclass(frozen=True)
class ScheduleRunner:
    """Runs `schedule` at the time `now`. `lease_s`: seconds until its lease expires."""

    store: ScheduleStore
    submission: ScheduleSubmission
    schedule: Schedule
    now: datetime
    lease_s: float
    lease: str = field(default_factory=lambda: uuid4().hex)

    def run(self) -> bool:
        """Process the occurrences that are due. Return True if more of them are left than MAX_STARTS.

        If another process has the lease, do nothing. Raises Unreachable.
        """
        if not self._claim():
            return False
        starts = 0
        is_one_waiting = False
        row = self.store.read(self.schedule.name)
        for occurrence in (waiting for waiting in row.waiting if waiting.start_at <= self.now):
            decision = self._decide(occurrence, is_paused=row.paused, is_one_waiting=is_one_waiting)
            if decision.action is Action.WAIT:
                is_one_waiting = is_one_waiting or not occurrence.caught_up
            elif decision.action is Action.SKIP:
                self._complete(occurrence, Record(Did.SKIPPED, self.now, occurrence.moment, why=decision.reason))
            elif starts == MAX_STARTS or not self._claim():
                break
            else:
                starts += 1
                self._start(occurrence, row.attempts.get(occurrence.moment, 0) + 1)
        self.store.release(self.schedule.name, self.lease)
        return starts == MAX_STARTS

    def _claim(self) -> bool:
        return self.store.claim(self.schedule.name, self.lease, lease_s=self.lease_s)

    def _batch_id(self, occurrence: Occurrence) -> str:
        return batch_id(self.schedule, occurrence.moment)

    def _decide(self, occurrence: Occurrence, *, is_paused: bool, is_one_waiting: bool) -> OverlapDecision:
        if is_paused or not self.schedule.enabled:
            return OverlapDecision(Action.SKIP, f"The schedule was {'paused' if is_paused else 'not enabled'}.")
        own_id = self._batch_id(occurrence)
        running = next((other for other in self.store.running(self.schedule.name) if other != own_id), None)
        return overlap_decision(self.schedule, occurrence, running=running, is_one_waiting=is_one_waiting)

    def _start(self, occurrence: Occurrence, attempt: int) -> None:
        try:
            accepted = self.submission.submit(self.schedule, self._batch_id(occurrence), occurrence.moment)
        except Unreachable:
            raise
        except Exception as error:
            self._defer_or_fail(occurrence, attempt, error)
        else:
            self._complete(occurrence, Record(Did.STARTED, self.now, occurrence.moment, batch=accepted.batch_id))

    def _defer_or_fail(self, occurrence: Occurrence, attempt: int, error: Exception) -> None:
        reason = str(error) if isinstance(error, DailiesError) else f"{type(error).__name__}: {error}"
        if not _is_retryable(error) or attempt >= MAX_ATTEMPTS:
            self._complete(occurrence, Record(Did.FAILED, self.now, occurrence.moment, why=reason[:_MAX_REASON]))
            return
        log.warning(
            "schedule_start_deferred",
            schedule=self.schedule.name,
            occurrence=occurrence_text(occurrence.moment),
            attempt=attempt,
            error=reason,
            exc_info=not isinstance(error, DailiesError),
        )
        delay_s = min(_FIRST_RETRY_S * 2 ** (attempt - 1), _MAX_RETRY_S)
        self.store.defer(self.schedule.name, self.lease, occurrence, self.now + timedelta(seconds=delay_s))

    def _complete(self, occurrence: Occurrence, record: Record) -> None:
        """Store what became of an occurrence, unless the lease has expired."""
        if self.store.complete(self.schedule.name, self.lease, occurrence, record):
            write = log.error if record.did is Did.FAILED else log.info
            write(
                f"schedule_{record.did}",
                schedule=self.schedule.name,
                occurrence=occurrence_text(occurrence.moment),
                batch=record.batch,
                reason=record.why,
            )


def _is_retryable(error: Exception) -> bool:
    if isinstance(error, StorageError):
        return error.retryable
    return isinstance(error, SubmissionInterrupted) or not isinstance(error, DailiesError | OSError)
