"""The schedules as people and programs look at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.batches.documents import BatchStatus
from pipeline.domain.model import BatchRow
from pipeline.domain.results import timestamp
from pipeline.errors import NoSuchBatch
from pipeline.ledger.ledger import Ledger
from pipeline.schedules.occurrences import next_times
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.schedule_loader import load_schedules
from pipeline.schedules.store import Did, Record, ScheduleStore

NEXT = 5
BATCHES = 5
NOT_MADE = 10


@dataclass(frozen=True)
class ScheduleView:
    """One schedule. All lists but `next` and `waiting` are newest first."""

    schedule: Schedule
    paused: bool
    next: tuple[datetime, ...]
    """In the schedule's own zone; none where it is paused or not enabled."""
    waiting: tuple[datetime, ...]
    """Ticks whose batch is still to be made."""
    batches: tuple[BatchRow, ...]
    not_made: tuple[Record, ...]
    """Ticks that were skipped, or whose batch could not be made."""


@dataclass(frozen=True)
class ScheduleSummary:
    """All schedules that are in force. `trouble`: why they are not those of the file."""

    schedules: tuple[ScheduleView, ...]
    trouble: str | None


def summary(
    file: Path, states: ScheduleStore, ledger: Ledger, now: datetime, *, limit: int | None = None
) -> ScheduleSummary:
    """Look at all schedules, or at the first `most`. Raises Unreachable."""
    found = load_schedules(file, states)
    views = tuple(_view(schedule, states, ledger, now) for schedule in found.schedules[:limit])
    return ScheduleSummary(views, found.trouble or (states.file().error if found.text is None else None))


def document(found: ScheduleSummary) -> dict[str, Any]:
    """An overview for programs. Next times are in the schedule's own zone, all others in UTC."""
    return {"trouble": found.trouble, "schedules": [_schedule_document(view) for view in found.schedules]}


def _view(schedule: Schedule, states: ScheduleStore, ledger: Ledger, now: datetime) -> ScheduleView:
    row = states.read(schedule.name)
    runs = schedule.enabled and not row.paused
    started = [record.batch for record in row.records if record.did is Did.STARTED and record.batch]
    return ScheduleView(
        schedule,
        row.paused,
        tuple(next_times(schedule, now, NEXT)) if runs else (),
        tuple(occurrence.moment.astimezone(schedule.zone) for occurrence in row.waiting),
        tuple(_batches(ledger, started[:BATCHES])),
        tuple(record for record in row.records if record.did is not Did.STARTED)[:NOT_MADE],
    )


def _batches(ledger: Ledger, ids: list[str]) -> list[BatchRow]:
    rows = []
    for batch_id in ids:
        try:
            rows.append(ledger.batches.get(batch_id))
        except NoSuchBatch:
            continue
    return rows


def _schedule_document(view: ScheduleView) -> dict[str, Any]:
    schedule = view.schedule
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "manifest": schedule.manifest,
        "overlap": schedule.overlap,
        "catch_up": schedule.catch_up,
        "catch_up_window": schedule.catch_up_window,
        "jitter_s": schedule.jitter_s,
        "enabled": schedule.enabled,
        "paused": view.paused,
        "next": [moment.isoformat() for moment in view.next],
        "waiting": [timestamp(moment) for moment in view.waiting],
        "batches": [BatchStatus.of(row).as_json() for row in view.batches],
        "not_made": [_record_document(record) for record in view.not_made],
    }


def _record_document(record: Record) -> dict[str, Any]:
    return {
        "status": record.did,
        "tick": timestamp(record.occurrence),
        "last_tick": timestamp(record.last),
        "at": timestamp(record.at),
        "why": record.why,
    }
