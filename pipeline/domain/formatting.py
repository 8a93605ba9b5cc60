"""Numbers, money and times as text for commands and pages. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from math import ceil, floor


def dollars(usd: Decimal) -> str:
    """Format US dollars: `$0`, `$1.50`, and fractions of a cent with all their digits (`$0.0035`)."""
    if usd == usd.quantize(Decimal("0.01")):
        return f"${usd:,.2f}" if usd else "$0"
    return f"${usd.normalize():,f}"


def duration(seconds: float | Decimal) -> str:
    """Format a duration in its two largest units: `6.2 s`, `2 min 4 s`, `3 h 20 min`, `2 d 3 h`."""
    if seconds < 59.95:
        return f"{float(seconds):.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for size, name, next_size, next_name in _UNITS:
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size:,} {name}" + (f" {rest} {next_name}" if rest else "")
    return f"{whole} s"


_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def pluralize(count: int, noun: str) -> str:
    """Format a count with its noun: `1 item`, `2 items`, `100,000 items`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def time_left(seconds: float) -> str:
    """Format the time until an end that is estimated: `about 2 min 4 s`; after it, `3 s longer than usual`."""
    if seconds > 0:
        return f"about {duration(ceil(seconds))}"
    return f"{duration(floor(-seconds))} longer than usual"


def when(time: datetime) -> str:
    """Format an aware time in UTC, to the minute."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ago(time: datetime, now: datetime) -> str:
    """Format the time that has passed since `time`: `just now`, `4 min ago`, `2 d ago`."""
    seconds = (now - time).total_seconds()
    if seconds < 10:
        return "just now"
    for size, name, *_ in _UNITS:
        if seconds >= size:
            return f"{seconds // size:,.0f} {name} ago"
    return f"{seconds:.0f} s ago"
