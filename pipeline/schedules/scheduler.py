"""Batches by the clock. Any number of these may run: a tick is noted once, made by one at a time, lost by no crash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from pipeline.batches.service import Service
from pipeline.batches.submission import Accepted
from pipeline.schedules.occurrences import ON_TIME, due, hand_batch_id, next_times
from pipeline.schedules.runner import ScheduleRunner, submit
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.schedule_loader import LoadedSchedules, load_schedules, use_schedules
from pipeline.schedules.store import Did, Record, ScheduleStore

log = structlog.get_logger()

_EARLIEST_OF_A_NEW_ONE = timedelta(minutes=1)


@dataclass(frozen=True)
class Scheduler:
    """Starts batches by the clock. The time is told; it is that of the ledger, see `ScheduleLedger.now`."""

    service: Service
    states: ScheduleStore
    file: Path

    @classmethod
    def of(cls, service: Service, *, retry_timeout_s: float = 0) -> Scheduler:
        """For the servers and the file of `service`."""
        settings = service.settings
        return cls(
            service, ScheduleStore.connect(settings.redis_url, retry_timeout_s=retry_timeout_s), settings.schedules
        )

    def start_due(self, now: datetime) -> datetime | None:
        """Start what is due. Answers when there is more to do; None: there are no schedules.

        Raises Unreachable. All else that goes wrong is logged and recorded; one schedule does not hold up the others.
        """
        beat = self.states.file().evaluated_at
        found = use_schedules(self.file, self.states)
        following: list[datetime] = []
        for schedule in found.schedules:
            self._note(schedule, now, found, beat)
            following += self._start(schedule, now)
        self.states.record_evaluation(now)
        return min(following, default=None)

    def run(self, name: str, now: datetime) -> Accepted:
        """Make a batch now, whatever runs or is paused. Raises NoSuchSchedule, and as `submit` does."""
        schedule = load_schedules(self.file, self.states).named(name)
        accepted = submit(self.service, schedule, self.file.parent, hand_batch_id(schedule, now), now)
        self.states.record_manual_start(name, accepted.batch_id, now)
        return accepted

    def pause(self, name: str, now: datetime) -> None:
        """Skip a schedule's ticks until it is resumed. Raises NoSuchSchedule."""
        self.states.pause(load_schedules(self.file, self.states).named(name).name, now)

    def resume(self, name: str) -> None:
        """Go on from the next tick. Raises NoSuchSchedule."""
        self.states.resume(load_schedules(self.file, self.states).named(name).name)

    def _note(self, schedule: Schedule, now: datetime, found: LoadedSchedules, beat: datetime | None) -> None:
        """Write down what became due since the schedule was last looked at."""
        seen = self.states.read(schedule.name).seen
        if seen and now <= seen:
            return
        since = _since(seen, now, found.written, beat)
        if not schedule.enabled:
            self.states.record_occurrences(schedule.name, seen, now, [], None)
            return
        new = due(schedule, since, now)
        missed = new.missed
        record = Record(Did.SKIPPED, now, missed.first, missed.last, why=missed.why) if missed else None
        if self.states.record_occurrences(schedule.name, seen, now, new.occurrences, record) and missed:
            log.warning("ticks_missed", schedule=schedule.name, first=missed.first, last=missed.last, why=missed.why)

    def _start(self, schedule: Schedule, now: datetime) -> Iterator[datetime]:
        """Start, skip or leave what waits. Answers when there is more to do."""
        waiting = self.states.read(schedule.name).waiting
        if any(occurrence.start_at <= now for occurrence in waiting):
            starter = ScheduleRunner(self.service, self.states, schedule, self.file.parent, now)
            if starter.work():
                yield now
        yield from (occurrence.start_at for occurrence in waiting if occurrence.start_at > now)
        if schedule.enabled:
            yield from next_times(schedule, now, 1)


def _since(seen: datetime | None, now: datetime, written: datetime | None, beat: datetime | None) -> datetime:
    """From when on ticks are due: a schedule is not held to times at which it was not in force."""
    if seen is None:
        return max(written or now, now - _EARLIEST_OF_A_NEW_ONE)
    # Others were looked at since then: it was not in the file. Hosts may differ for a moment, while one is rolled out.
    return max(seen, beat - ON_TIME) if beat else seen
