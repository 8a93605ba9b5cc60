"""The meaning of a cron line in a time zone: moments in UTC. Pure.

The calendar is cronsim's. What happens when clocks change, as in Debian's cron:

- A line for certain hours (`30 2 * * *`, `0 */6 * * *`) follows the wall clock. A time that does not exist runs once,
  at the next minute that does; a time that is there twice runs once, the first time.
- A line for every hour (`*/15 * * * *`) follows elapsed time: it runs in a repeated hour too, and not in a missing one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LONGEST = 200
_ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


def zone(name: str) -> ZoneInfo:
    """The IANA time zone of this name. Raises ValueError, saying what would be right."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone: write an IANA name, like Europe/Berlin or UTC") from None


class Cron:
    """A cron line of five fields, or a macro, in a time zone."""

    def __init__(self, line: str, zone: ZoneInfo) -> None:
        """Raises ValueError, saying what would be right."""
        self._zone = zone
        minute, hour, *days = _fields(line)
        # Written as ranges, stars mean the same, and cronsim lets the line follow the wall clock.
        self._line = " ".join((minute.replace("*", "0-59"), hour.replace("*", "0-23"), *days))
        try:
            calendar = CronSim(self._line, _ANY_DAY)
        except CronSimError as error:
            raise ValueError(f"{line!r} is no cron line: {str(error).lower()}. {_ADVICE}") from None
        if next(calendar, None) is None:
            raise ValueError(f"{line!r} names a day that never comes")
        self._every_hour = len(calendar.hours) == 24

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Every tick after `moment`, aware UTC, in order, each once."""
        last = moment = moment.astimezone(UTC)
        for occurrence in self._elapsed(moment) if self._every_hour else self._wall(moment):
            if occurrence > last:
                yield occurrence
                last = occurrence

    def _wall(self, moment: datetime) -> Iterator[datetime]:
        for occurrence in CronSim(self._line, moment.astimezone(self._zone)):
            yield occurrence.astimezone(UTC)

    def _elapsed(self, moment: datetime) -> Iterator[datetime]:
        """Piece by piece between changes of the clocks: within one, local time is UTC and a constant."""
        for start, end in pairwise(_changes(self._zone, moment)):
            offset = _offset(self._zone, start)
            # Each piece but the first begins with the minute of the change, which may be a tick.
            first = start if start == moment else start - _SECOND
            for local in CronSim(self._line, (first + offset).replace(tzinfo=None)):
                occurrence = local.replace(tzinfo=UTC) - offset
                if occurrence >= end:
                    break
                yield occurrence


_ADVICE = 'Write minute, hour, day of month, month and day of week, like "0 2 * * *", or @daily'


def _fields(line: str) -> list[str]:
    text = line.strip()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            raise ValueError(f"{line!r} is no cron line: the macros are {', '.join(MACROS)}")
        text = MACROS[text.lower()]
    fields = text.split()
    if len(fields) != 5 or len(text) > _LONGEST:
        raise ValueError(f"{line[:_LONGEST]!r} is no cron line: it needs five fields. {_ADVICE}")
    return fields


def _changes(zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """`start`, then every moment at which the zone's offset from UTC changes, or a day on which it does not."""
    moment = start
    while moment.year < 9999:
        yield moment
        end = moment + 30 * _DAY
        offset = _offset(zone, moment)
        while moment < end and _offset(zone, moment + _DAY) == offset:
            moment += _DAY
        moment = _first_other(zone, moment, offset) if moment < end else moment


def _first_other(zone: ZoneInfo, moment: datetime, offset: timedelta) -> datetime:
    """The first minute after `moment`, within a day, with another offset than `offset`."""
    low = moment.replace(second=0, microsecond=0)
    high = low + _DAY + timedelta(minutes=1)
    while high - low > timedelta(minutes=1):
        middle = low + (high - low) // 2
        middle = middle.replace(second=0, microsecond=0)
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    return offset if offset is not None else timedelta(0)
