"""The schedules: their file, each one's manifest as the next tick would find it, and whether somebody looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pipeline.batches.service import Service
from pipeline.doctor import Finding, note, ok, wrong
from pipeline.domain.formatting import pluralize, when
from pipeline.errors import DailiesError
from pipeline.schedules.occurrences import next_times
from pipeline.schedules.runner import read_manifest
from pipeline.schedules.schedule import Schedule
from pipeline.schedules.schedule_loader import load_schedules
from pipeline.schedules.store import ScheduleStore
from pipeline.settings import Settings

_SILENCE = timedelta(minutes=5)


def schedules(settings: Settings) -> Iterator[Finding]:
    """Whether batches will start by the clock."""
    states = ScheduleStore.connect(settings.redis_url)
    now = states.now()
    found = load_schedules(settings.schedules, states)
    beat = states.file().evaluated_at
    if found.trouble:
        yield wrong(
            "schedules",
            f"the file is broken, what it said before is in force. {_on_one_line(found.trouble)}",
            "Mend the file: it is read again within a minute.",
        )
    for schedule in found.schedules:
        yield _schedule(settings, schedule, now)
    if found.schedules:
        yield from _watch(beat, now)


def _watch(beat: datetime | None, now: datetime) -> Iterator[Finding]:
    fix = "Start the cron process of the Procfile, and a worker: they come every minute."
    if beat is None:
        yield note("schedules", "nobody has looked at them yet.", fix)
    elif now - beat > _SILENCE:
        yield wrong("schedules", f"nobody has looked at them since {when(beat)}.", fix)


def _schedule(settings: Settings, schedule: Schedule, now: datetime) -> Finding:
    subject = f"schedule {schedule.name}"
    if not schedule.enabled:
        return note(subject, "not enabled")
    (occurrence,) = next_times(schedule, now, 1)
    try:
        given = read_manifest(Service.connect(settings), schedule, settings.schedules.parent, occurrence)
    except DailiesError as error:
        return wrong(subject, _on_one_line(str(error)), "Its next batch would fail for this.")
    return ok(
        subject,
        f"next {occurrence:%Y-%m-%d %H:%M %Z}: {given.manifest.name}, {pluralize(len(given.manifest.items), 'item')}",
    )


def _on_one_line(text: str) -> str:
    return "; ".join(text.splitlines())
