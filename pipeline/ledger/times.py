"""Times and durations in the milliseconds that Redis stores, and the time of its clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def server_time(redis: Any) -> datetime:
    """Return the time of the server's clock. The clocks of workers do not matter. Raises Unreachable."""
    second, microsecond = redis.time()
    return datetime.fromtimestamp(second, UTC).replace(microsecond=microsecond)


def ms(seconds: float) -> int:
    """Return seconds as whole milliseconds, rounded down."""
    return int(seconds * 1000)


def seconds(milliseconds: int) -> float | None:
    """Return a wait in milliseconds as seconds; None for a negative one."""
    return None if milliseconds < 0 else milliseconds / 1000


def moment(milliseconds: object) -> datetime | None:
    """Return milliseconds since 1970 as an aware UTC time; None for 0."""
    value = int(str(milliseconds))
    return datetime.fromtimestamp(value / 1000, UTC) if value else None


def moment_ms(when: datetime) -> int:
    """Return an aware time as milliseconds since 1970, rounded."""
    return round(when.timestamp() * 1000)
