"""The schedules: their file, the manifest of each one's next occurrence, and the process that runs them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pipeline.doctor.findings import Finding, note, ok, one_line, wrong
from pipeline.domain.formatting import pluralize, when
from pipeline.errors import DailiesError
from pipeline.schedules.occurrences import next_times
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.schedule_loader import load_schedules
from pipeline.schedules.store import ScheduleStore
from pipeline.schedules.submission import read_manifest
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage

_MAX_SILENCE = timedelta(minutes=5)


def check_schedules(settings: Settings) -> Iterator[Finding]:
    """Check that the schedules will start batches."""
    store = ScheduleStore.connect(settings.redis_url)
    now = store.now()
    loaded = load_schedules(settings.schedules, store)
    if loaded.file_error:
        errors = "; ".join(loaded.file_error.splitlines())
        yield wrong(
            "schedules",
            f"The file has errors, so its last valid version is used. {errors}",
            "Correct the file. It is loaded again within a minute.",
        )
    for schedule in loaded.schedules:
        yield _check_schedule(settings, schedule, now)
    if loaded.schedules:
        yield from _check_last_run(store.file().evaluated_at, now)


def _check_last_run(last_run: datetime | None, now: datetime) -> Iterator[Finding]:
    fix = (
        "Start the cron process of the Procfile and a worker. They run the schedules every minute. If they do, one "
        "schedule fails: the worker's log names it (schedule_not_run)."
    )
    if last_run is None:
        yield note("schedules", "The schedules have never run.", fix)
    elif now - last_run > _MAX_SILENCE:
        yield wrong("schedules", f"The schedules have not run since {when(last_run)}.", fix)


def _check_schedule(settings: Settings, schedule: Schedule, now: datetime) -> Finding:
    subject = f"schedule {schedule.name}"
    if not schedule.enabled:
        return note(subject, "not enabled")
    (occurrence,) = next_times(schedule, now, 1)
    try:
        manifest = read_manifest(settings, Storage(settings.s3_endpoint), schedule, occurrence).manifest
    except DailiesError as error:
        return wrong(subject, one_line(error), "Correct this, or its next batch fails.")
    items = pluralize(len(manifest.items), "item")
    return ok(subject, f"next {occurrence:%Y-%m-%d %H:%M %Z}: {manifest.name}, {items}")
