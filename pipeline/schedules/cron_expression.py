"""The occurrences of a cron line in a time zone, in UTC. Pure.

cronsim computes the calendar. When clocks change, the rules are those of Debian's cron:

- A line for certain hours (`30 2 * * *`, `0 */6 * * *`) follows local time. A local time that does not exist occurs
  once, at the next minute that exists. A local time that exists twice occurs once, the first time.
- A line for every hour (`*/15 * * * *`) follows elapsed time: it also occurs in a repeated hour, and not in a missing
  one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from pipeline.schedules.cron_fields import field_error

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MAX_LENGTH = 200
_ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


def zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of this name. Raises ValueError with what is right."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"must be an IANA time zone such as Europe/Berlin or UTC, not {name!r}") from None


class Cron:
    """A cron line of five fields, or a macro, in a time zone."""

    def __init__(self, line: str, zone: ZoneInfo) -> None:
        """Raises ValueError with what is right."""
        self._zone = zone
        minute, hour, *days = fields = _fields(line)
        if error := field_error(fields):
            raise ValueError(f"must be a cron line, not {line!r}: {error}")
        # A range has the same meaning as a star; with ranges cronsim always follows local time.
        self._line = " ".join((minute.replace("*", "0-59"), hour.replace("*", "0-23"), *days))
        try:
            calendar = CronSim(self._line, _ANY_DAY)
        except CronSimError as error:
            raise ValueError(f"must be a cron line, not {line!r}: {str(error).lower()}. {_ADVICE}") from None
        if next(calendar, None) is None:
            raise ValueError(f"must be a cron line with occurrences: {line!r} has none")
        self._every_hour = len(calendar.hours) == 24

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield each occurrence after `moment` once, in order, as aware UTC."""
        last = moment = moment.astimezone(UTC)
        for occurrence in self._by_elapsed_time(moment) if self._every_hour else self._by_local_time(moment):
            if occurrence > last:
                yield occurrence
                last = occurrence

    def _by_local_time(self, moment: datetime) -> Iterator[datetime]:
        for occurrence in CronSim(self._line, moment.astimezone(self._zone)):
            yield occurrence.astimezone(UTC)

    def _by_elapsed_time(self, moment: datetime) -> Iterator[datetime]:
        """Between two changes of the clocks, local time is UTC plus a constant offset."""
        for start, end in pairwise(_changes(self._zone, moment)):
            offset = _offset(self._zone, start)
            # Each period but the first includes the minute of the change, which may be an occurrence.
            first = start if start == moment else start - _SECOND
            for local in CronSim(self._line, (first + offset).replace(tzinfo=None)):
                occurrence = local.replace(tzinfo=UTC) - offset
                if occurrence >= end:
                    break
                yield occurrence


_ADVICE = 'Write minute, hour, day of month, month and day of week, such as "0 2 * * *", or @daily'


def _fields(line: str) -> list[str]:
    text = line.strip()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            raise ValueError(f"must be a cron line, not {line!r}: the macros are {', '.join(MACROS)}")
        text = MACROS[text.lower()]
    fields = text.split()
    if len(fields) != 5 or len(text) > _MAX_LENGTH:
        raise ValueError(f"must be a cron line of five fields, not {line[:_MAX_LENGTH]!r}. {_ADVICE}")
    return fields


def _changes(zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """Yield `start`, then each change of the zone's offset from UTC, and at least one moment in 30 days."""
    moment = start
    while moment.year < 9999:
        yield moment
        end = moment + 30 * _DAY
        offset = _offset(zone, moment)
        while moment < end and _offset(zone, moment + _DAY) == offset:
            moment += _DAY
        moment = _next_change(zone, moment, offset) if moment < end else moment


def _next_change(zone: ZoneInfo, moment: datetime, offset: timedelta) -> datetime:
    """Return the first minute within a day after `moment` whose offset is not `offset`."""
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
