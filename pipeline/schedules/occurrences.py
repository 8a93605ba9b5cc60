"""Which occurrences of a schedule are due, and what to do with each. Pure: the time is an argument."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

from pipeline.schedules.cron_expression import Cron
from pipeline.schedules.schedule import CatchUp, Schedule

ON_TIME = timedelta(minutes=2)
"""Up to this age an occurrence is on time: it is started whatever `catch_up` is."""
MAX_CAUGHT_UP = 1000
"""If more occurrences than this were missed, only the newest are caught up."""
_SEARCH_SPANS = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=366))
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Occurrence:
    """One point in time at which a schedule starts a batch. Times are aware UTC."""

    moment: datetime
    start_at: datetime
    """The moment plus its jitter."""
    caught_up: bool = False
    """It is one of several missed occurrences that are all caught up, one after the other, whatever `overlap` is."""


@dataclass(frozen=True)
class Missed:
    """The occurrences from `first` to `last`, which are not caught up."""

    first: datetime
    last: datetime
    reason: str


@dataclass(frozen=True)
class Due:
    """The occurrences of a period that has passed: those to start, and those that are missed."""

    occurrences: tuple[Occurrence, ...]
    missed: Missed | None


def due(schedule: Schedule, seen: datetime, now: datetime) -> Due:
    """Return what became due after `seen`, up to `now`. The next call's `seen` is this call's `now`."""
    cron = schedule.occurrences
    oldest_on_time = now - ON_TIME
    on_time = list(_between(cron, max(seen, oldest_on_time), now))
    window_start = max(seen, now - timedelta(seconds=schedule.catch_up_window_s))
    late = _late(schedule, window_start, oldest_on_time, is_newer_due=bool(on_time))
    missed = _missed(schedule, seen, late[0] - _SECOND if late else oldest_on_time)
    all_late = schedule.catch_up is CatchUp.ALL
    occurrences = [Occurrence(moment, start_at(schedule, moment), all_late) for moment in late]
    occurrences += [Occurrence(moment, start_at(schedule, moment)) for moment in on_time]
    return Due(tuple(occurrences), missed)


def next_times(schedule: Schedule, now: datetime, count: int) -> list[datetime]:
    """Return the next `count` occurrences in the schedule's own zone."""
    return [moment.astimezone(schedule.zone) for moment in islice(schedule.occurrences.after(now), count)]


def start_at(schedule: Schedule, moment: datetime) -> datetime:
    """Return when an occurrence's batch starts: up to `jitter_s` later, the same on every host."""
    digest = hashlib.sha256(f"{schedule.name} {occurrence_text(moment)}".encode()).digest()
    share = int.from_bytes(digest[:8]) / 2**64
    return moment + timedelta(seconds=schedule.jitter_s * share)


def occurrence_text(moment: datetime) -> str:
    """Return an occurrence as it is written in batch ids: `20260727T0000Z`."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%MZ}"


def occurrence_from_text(text: str) -> datetime:
    """Return the moment of an `occurrence_text`."""
    return datetime.strptime(text, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)


def batch_id(schedule: Schedule, moment: datetime) -> str:
    """Return the id of an occurrence's batch, the same on every host."""
    return f"{schedule.name}-{occurrence_text(moment)}"


def manual_batch_id(schedule: Schedule, now: datetime) -> str:
    """Return the id of a batch that a person starts: one per second."""
    return f"{schedule.name}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _late(schedule: Schedule, after: datetime, until: datetime, *, is_newer_due: bool) -> list[datetime]:
    """Return the missed occurrences to catch up, oldest first. `is_newer_due`: a newer occurrence starts anyway."""
    if schedule.catch_up is CatchUp.NONE or after >= until:
        return []
    if schedule.catch_up is CatchUp.ALL:
        return list(deque(_between(schedule.occurrences, after, until), MAX_CAUGHT_UP))
    last = None if is_newer_due else _latest(schedule.occurrences, after, until)
    return [last] if last else []


def _missed(schedule: Schedule, after: datetime, until: datetime) -> Missed | None:
    last = _latest(schedule.occurrences, after, until)
    if last is None:
        return None
    reason = f"Missed: the service was down or late. catch_up: {schedule.catch_up}"
    if schedule.catch_up is not CatchUp.NONE:
        reason += f", catch_up_window: {schedule.catch_up_window}"
    return Missed(next(schedule.occurrences.after(after)), last, reason + ".")


def _between(cron: Cron, after: datetime, until: datetime) -> takewhile[datetime]:
    return takewhile(lambda moment: moment <= until, cron.after(after))


def _latest(cron: Cron, after: datetime, until: datetime) -> datetime | None:
    """Return the last occurrence in a period. The search begins at its end, so that a long period takes no longer."""
    for span in (*_SEARCH_SPANS, max(until - after, _SECOND)):
        start = max(after, until - span)
        last = deque(_between(cron, start, until), 1)
        if last or start == after:
            return last[0] if last else None
    return None
