"""Which ticks of a schedule are due, and what becomes of one. Pure: the time is an argument."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import islice, takewhile

from pipeline.schedules.cron import Cron
from pipeline.schedules.schedule import CatchUp, Overlap, Schedule

ON_TIME = timedelta(minutes=2)
"""A tick that is seen up to this late is on time: whatever `catch_up` says, it runs."""
MAX_CAUGHT_UP = 1000
"""Of more missed ticks than these, the newest are caught up."""
_REACHES = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=366))
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Occurrence:
    """A moment at which a schedule makes a batch. Times are aware UTC."""

    moment: datetime
    start_at: datetime
    """The moment and its jitter."""
    caught_up: bool = False
    """It was missed, as were others, and all are caught up: one after the other, whatever `overlap` is."""


@dataclass(frozen=True)
class Missed:
    """Ticks from `first` to `last` that are not made up for."""

    first: datetime
    last: datetime
    why: str


@dataclass(frozen=True)
class Due:
    """What is to be done about the time that has passed."""

    occurrences: tuple[Occurrence, ...]
    missed: Missed | None


class Action(Enum):
    """What becomes of a tick whose time has come."""

    START = "start"
    WAIT = "wait"
    SKIP = "skip"


@dataclass(frozen=True)
class OverlapDecision:
    """What becomes of a tick, and why where it is skipped."""

    do: Action
    why: str = ""


def due(schedule: Schedule, seen: datetime, now: datetime) -> Due:
    """What became due after `seen`, up to `now`. Whoever asks again asks from `now` on."""
    cron = schedule.clock
    edge = now - ON_TIME
    on_time = list(_between(cron, max(seen, edge), now))
    late = _late(schedule, max(seen, now - timedelta(seconds=schedule.catch_up_window_s)), edge, bool(on_time))
    missed = _missed(schedule, seen, late[0] - _SECOND if late else edge)
    waits = schedule.catch_up is CatchUp.ALL
    occurrences = [Occurrence(occurrence, start_at(schedule, occurrence), waits) for occurrence in late]
    occurrences += [Occurrence(occurrence, start_at(schedule, occurrence)) for occurrence in on_time]
    return Due(tuple(occurrences), missed)


def next_times(schedule: Schedule, now: datetime, count: int) -> list[datetime]:
    """The next `count` ticks, in the schedule's own zone."""
    return [occurrence.astimezone(schedule.zone) for occurrence in islice(schedule.clock.after(now), count)]


def start_at(schedule: Schedule, occurrence: datetime) -> datetime:
    """When a tick's batch is to start: up to `jitter_s` later, the same for every scheduler."""
    digest = hashlib.sha256(f"{schedule.name} {occurrence_text(occurrence)}".encode()).digest()
    share = int.from_bytes(digest[:8]) / 2**64
    return occurrence + timedelta(seconds=schedule.jitter_s * share)


def overlap_decision(
    schedule: Schedule, occurrence: Occurrence, *, running: str | None, ahead: bool
) -> OverlapDecision:
    """What becomes of a tick whose time has come.

    `running` is a batch of the schedule that has not ended; `ahead`: a tick that was on time waits for its end.
    """
    if schedule.overlap is Overlap.ALLOW or running is None:
        return OverlapDecision(Action.START)
    if occurrence.caught_up:
        return OverlapDecision(Action.WAIT)
    if schedule.overlap is Overlap.SKIP:
        return OverlapDecision(Action.SKIP, f"Batch {running} was still running.")
    if ahead:
        return OverlapDecision(Action.SKIP, f"Batch {running} was still running, and one tick waited already.")
    return OverlapDecision(Action.WAIT)


def occurrence_text(occurrence: datetime) -> str:
    """A tick as it stands in batch ids: `20260727T0000Z`."""
    return f"{occurrence.astimezone(UTC):%Y%m%dT%H%MZ}"


def occurrence_from_text(text: str) -> datetime:
    """The tick of a `tick_text`."""
    return datetime.strptime(text, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)


def batch_id(schedule: Schedule, occurrence: datetime) -> str:
    """The batch of a tick: whoever makes it makes the same one."""
    return f"{schedule.name}-{occurrence_text(occurrence)}"


def hand_batch_id(schedule: Schedule, now: datetime) -> str:
    """The batch of a run by hand: one a second."""
    return f"{schedule.name}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _late(schedule: Schedule, after: datetime, until: datetime, newer: bool) -> list[datetime]:
    """The missed ticks that are caught up, oldest first. `newer`: a later tick runs anyway."""
    if schedule.catch_up is CatchUp.NONE or after >= until:
        return []
    if schedule.catch_up is CatchUp.ALL:
        return list(deque(_between(schedule.clock, after, until), MAX_CAUGHT_UP))
    last = None if newer else _latest(schedule.clock, after, until)
    return [last] if last else []


def _missed(schedule: Schedule, after: datetime, until: datetime) -> Missed | None:
    last = _latest(schedule.clock, after, until)
    if last is None:
        return None
    why = f"Missed: the service was down or late. catch_up: {schedule.catch_up}"
    if schedule.catch_up is not CatchUp.NONE:
        why += f", catch_up_window: {schedule.catch_up_window}"
    return Missed(next(schedule.clock.after(after)), last, why + ".")


def _between(cron: Cron, after: datetime, until: datetime) -> takewhile[datetime]:
    return takewhile(lambda occurrence: occurrence <= until, cron.after(after))


def _latest(cron: Cron, after: datetime, until: datetime) -> datetime | None:
    """The last tick in a span of time, looked for from its end."""
    for reach in (*_REACHES, max(until - after, _SECOND)):
        start = max(after, until - reach)
        last = deque(_between(cron, start, until), 1)
        if last or start == after:
            return last[0] if last else None
    return None
