"""Starts batches by the clock. Several schedulers can run: each occurrence is recorded once and starts one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from pipeline.batches.service import Service
from pipeline.batches.submission import Accepted
from pipeline.errors import Unreachable
from pipeline.schedules.occurrences import ON_TIME, due, manual_batch_id, next_times
from pipeline.schedules.runner import ScheduleRunner
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.schedule_loader import LoadedSchedules, load_schedules, use_schedules
from pipeline.schedules.store import Did, Record, ScheduleStore
from pipeline.schedules.submission import ScheduleSubmission

log = structlog.get_logger()

_MAX_AGE_OF_FIRST = timedelta(minutes=1)
"""The maximum age of the first occurrence of a new schedule."""


@dataclass(frozen=True)
class Scheduler:
    """Starts the batches of the schedules in `file`. The time is an argument: the Redis server's, `store.now()`."""

    store: ScheduleStore
    submission: ScheduleSubmission
    file: Path
    lease_s: float

    @classmethod
    def of(cls, service: Service, *, retry_timeout_s: float = 0) -> Scheduler:
        """Return the scheduler on the servers of `service`."""
        settings = service.settings
        store = ScheduleStore.connect(settings.redis_url, retry_timeout_s=retry_timeout_s)
        return cls(store, ScheduleSubmission.of(service), settings.schedules, settings.lease_s)

    def start_due(self, now: datetime) -> datetime | None:
        """Start what is due. Return when to run again; None if there are no schedules.

        Raises Unreachable. Other errors are logged and recorded, and do not stop the other schedules.
        """
        last_run = self.store.file().evaluated_at
        loaded = use_schedules(self.file, self.store)
        run_again: list[datetime] = []
        are_evaluated = True
        for schedule in loaded.schedules:
            is_evaluated = False
            try:
                self._record_due(schedule, now, loaded, last_run)
                is_evaluated = True
                run_again += self._start_waiting(schedule, now)
            except Unreachable:
                raise
            except Exception:
                # The others go on.
                log.exception("schedule_not_run", schedule=schedule.name)
                are_evaluated = are_evaluated and is_evaluated
        if are_evaluated:
            # Else the schedule that failed would count as not in the file, and lose its occurrences.
            self.store.record_evaluation(now)
        return min(run_again, default=None)

    def run(self, name: str, now: datetime) -> Accepted:
        """Start a batch now, even if the schedule is paused or has a running batch.

        Raises NoSuchSchedule, and what `ScheduleSubmission.submit` raises.
        """
        schedule = load_schedules(self.file, self.store).named(name)
        accepted = self.submission.submit(schedule, manual_batch_id(schedule, now), now)
        self.store.record_manual_start(name, accepted.batch_id, now)
        return accepted

    def pause(self, name: str, now: datetime) -> None:
        """Skip a schedule's occurrences until it is resumed. Raises NoSuchSchedule."""
        self.store.pause(load_schedules(self.file, self.store).named(name).name, now)

    def resume(self, name: str) -> None:
        """Start batches again from the next occurrence. Raises NoSuchSchedule."""
        self.store.resume(load_schedules(self.file, self.store).named(name).name)

    def _record_due(
        self, schedule: Schedule, now: datetime, loaded: LoadedSchedules, last_run: datetime | None
    ) -> None:
        """Record the occurrences that became due since the last run."""
        seen = self.store.read(schedule.name).seen
        if seen and now <= seen:
            return
        if not schedule.enabled:
            self.store.record_occurrences(schedule.name, seen, now, [], None)
            return
        new = due(schedule, _since(seen, now, loaded.written, last_run), now)
        missed = new.missed
        record = Record(Did.SKIPPED, now, missed.first, missed.last, why=missed.reason) if missed else None
        if self.store.record_occurrences(schedule.name, seen, now, new.occurrences, record) and missed:
            span = {"first": missed.first, "last": missed.last}
            log.warning("occurrences_missed", schedule=schedule.name, **span, reason=missed.reason)

    def _start_waiting(self, schedule: Schedule, now: datetime) -> Iterator[datetime]:
        """Start, skip or keep the waiting occurrences. Yield when to run again."""
        waiting = self.store.read(schedule.name).waiting
        if any(occurrence.start_at <= now for occurrence in waiting):
            runner = ScheduleRunner(self.store, self.submission, schedule, now, self.lease_s)
            if runner.run():
                yield now
        yield from (occurrence.start_at for occurrence in waiting if occurrence.start_at > now)
        if schedule.enabled:
            yield from next_times(schedule, now, 1)


def _since(seen: datetime | None, now: datetime, written: datetime | None, last_run: datetime | None) -> datetime:
    """Return from when on occurrences are due: not from a time at which the schedule was not in the file."""
    if seen is None:
        return max(written or now, now - _MAX_AGE_OF_FIRST)
    # If other schedules ran later than this one, it was not in the file. During a deployment hosts may differ shortly.
    return max(seen, last_run - ON_TIME) if last_run else seen
