"""The state of all schedules, for the dashboard, the command and its JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.batches.json_documents import BatchStatus
from pipeline.domain.model import BatchRow
from pipeline.domain.results import timestamp
from pipeline.errors import DamagedRecord, NoSuchBatch
from pipeline.ledger.batches import BatchStore
from pipeline.ledger.redis_client import CommandRefused
from pipeline.schedules.occurrences import next_times
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.schedule_loader import load_schedules
from pipeline.schedules.store import Did, Record, ScheduleStore

MAX_NEXT = 5
MAX_BATCHES = 5
MAX_NOT_STARTED = 10


@dataclass(frozen=True)
class ScheduleView:
    """One schedule. `batches` and `not_started` are newest first."""

    schedule: Schedule
    paused: bool
    next: tuple[datetime, ...]
    """In the schedule's own zone; empty if it is paused or not enabled."""
    waiting: tuple[datetime, ...]
    """Occurrences whose batch is not started yet."""
    batches: tuple[BatchRow, ...]
    not_started: tuple[Record, ...]
    """Occurrences that were skipped, or whose batch could not be started."""


@dataclass(frozen=True)
class ScheduleSummary:
    """The schedules in use. `file_error`: why they are not those of the file."""

    schedules: tuple[ScheduleView, ...]
    file_error: str | None


def summary(
    file: Path, store: ScheduleStore, batches: BatchStore, now: datetime, *, limit: int | None = None
) -> ScheduleSummary:
    """Return the state of all schedules, or of the first `limit`. Raises Unreachable."""
    loaded = load_schedules(file, store)
    views = tuple(_view(schedule, store, batches, now) for schedule in loaded.schedules[:limit])
    return ScheduleSummary(views, loaded.file_error or (store.file().error if loaded.text is None else None))


def document(schedules: ScheduleSummary) -> dict[str, Any]:
    """Return a summary as JSON values. Next times are in the schedule's own zone, all others in UTC."""
    return {"trouble": schedules.file_error, "schedules": [_schedule_document(view) for view in schedules.schedules]}


def _view(schedule: Schedule, store: ScheduleStore, batches: BatchStore, now: datetime) -> ScheduleView:
    row = store.read(schedule.name)
    is_active = schedule.enabled and not row.paused
    started = [record.batch for record in row.records if record.did is Did.STARTED and record.batch]
    return ScheduleView(
        schedule,
        row.paused,
        tuple(next_times(schedule, now, MAX_NEXT)) if is_active else (),
        tuple(occurrence.moment.astimezone(schedule.zone) for occurrence in row.waiting),
        tuple(_existing(batches, started[:MAX_BATCHES])),
        tuple(record for record in row.records if record.did is not Did.STARTED)[:MAX_NOT_STARTED],
    )


def _existing(batches: BatchStore, ids: list[str]) -> list[BatchRow]:
    rows = []
    for batch_id in ids:
        try:
            rows.append(batches.get(batch_id))
        except (NoSuchBatch, DamagedRecord, CommandRefused):
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
        "not_made": [_record_document(record) for record in view.not_started],
    }


def _record_document(record: Record) -> dict[str, Any]:
    return {
        "status": record.did,
        "tick": timestamp(record.occurrence),
        "last_tick": timestamp(record.last),
        "at": timestamp(record.at),
        "why": record.why,
    }
