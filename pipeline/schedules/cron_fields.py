"""What is wrong with a field of a cron line, and what to write in its place. Pure.

cronsim names only the field. It also accepts a step above the number of values: `*/90` would run every hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from pipeline.manifest.yaml.decoder import shown


@dataclass(frozen=True)
class _Field:
    """A field with the values from `low` to `high`. `names`: words for values. `others`: what else it can have."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    others: str = ""

    def value(self, text: str) -> int | None:
        """Return the number that a text stands for, None if it is no value of this field."""
        if text.lower() in self.names:
            return self.low + self.names.index(text.lower())
        is_number = text.isascii() and text.isdecimal() and len(text) <= 2
        return int(text) if is_number and self.low <= int(text) <= self.high else None

    @property
    def choices(self) -> str:
        """What can be written, for people."""
        names = f", {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.low} to {self.high}{names}{self.others}, or * for any"


_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY_OF_MONTH = _Field("day of month", 1, 31, others=", L (the last day), LW (the last weekday)")
_DAY_OF_WEEK = _Field("day of week", 0, 7, _DAYS, ", 5L (the last Friday), 1#2 (the second Monday)")
_FIELDS = (_MINUTE, _HOUR, _DAY_OF_MONTH, _Field("month", 1, 12, _MONTHS), _DAY_OF_WEEK)


def field_error(fields: Sequence[str]) -> str:
    """Return what is wrong with the first wrong one of the five fields of a line, '' if nothing is."""
    errors = (
        _error(field, term) for field, text in zip(_FIELDS, fields, strict=True) for term in text.upper().split(",")
    )
    return next(filter(None, errors), "")


def _error(field: _Field, term: str) -> str:
    values, slash, step = term.partition("/")
    if field is _DAY_OF_MONTH and term in ("L", "LW"):
        return ""
    if field is _DAY_OF_WEEK and _is_weekday_of_month(term):
        return ""
    first, dash, last = values.partition("-")
    low, high = (field.low, field.high) if values == "*" else (field.value(first), field.value(last if dash else first))
    if low is None or high is None:
        return f"{shown(values.lower())} is no {field.name}: write {field.choices}"
    if low > high:
        return f"the range {values.lower()} runs backwards: write {_forwards(field, first, last)}"
    return _step_error(field, low, high if dash or values == "*" else field.high, step) if slash else ""


def _is_weekday_of_month(term: str) -> bool:
    """Return whether a term is `5L`, the last Friday of a month, or `1#2`, its second Monday."""
    day, number_sign, week = term.partition("#")
    if number_sign:
        return _DAY_OF_WEEK.value(day) is not None and week in ("1", "2", "3", "4", "5")
    return term.endswith("L") and term[:-1].isdecimal() and _DAY_OF_WEEK.value(term[:-1]) is not None


def _forwards(field: _Field, first: str, last: str) -> str:
    """Return a range over the end of the field as two: `22-2` is `22-23,0-2`."""
    end = 6 if field is _DAY_OF_WEEK else field.high
    return f"{first}-{end},{field.low}-{last}".lower()


def _step_error(field: _Field, low: int, high: int, text: str) -> str:
    step = int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 else 0
    # 7 is Sunday, as 0 is.
    count = min(high, 6) - low + 1 if field is _DAY_OF_WEEK and low < high else high - low + 1
    if 0 < step <= count:
        return ""
    values = f"the {count} values {low} to {high}" if count > 1 else f"the one value {low}"
    if not step:
        return f"the step {shown(text.lower())} of the {field.name} is no step: write a number from 1 to {count}"
    return f"the step {step} of the {field.name} is larger than {values}: {_larger_step(field, step, count, low)}"


def _larger_step(field: _Field, step: int, count: int, low: int) -> str:
    """Return what to write in place of a step above the number of values."""
    if field is _MINUTE and count == 60 and (lines := _lines_of_minutes(step)):
        return f"for every {step} minutes write {' and '.join(lines)}" + (", a schedule each" if len(lines) > 1 else "")
    if field is _HOUR and count == 24 and step % 24 == 0 and step // 24 <= 31:
        return f'for every {step} hours write "0 0 */{step // 24} * *"'
    return f"write a step of at most {count}, or {low} for once"


def _lines_of_minutes(step: int) -> list[str]:
    """Return the lines that together run every so many minutes, none if the hours of a day are no multiple."""
    period = step // gcd(step, 60)
    if 24 % period:
        return []
    starts = [divmod(number * step, 60) for number in range(period * 60 // step)]
    return [f'"{minute} {_every(hour, period)} * * *"' for hour, minute in starts]


def _every(hour: int, period: int) -> str:
    if period == 24:
        return str(hour)
    return f"{hour}-23/{period}" if hour else f"*/{period}"
