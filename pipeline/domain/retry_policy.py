"""What comes next: waits, retries, ends. Pure: time and chance are arguments.

Every duration is in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

FIRST_POLL_S = 2.0
MAX_POLL_S = 60.0
MAX_BACKOFF_S = 60.0
MAX_PLACE_WAIT_S = 10.0
"""How long a run that found no free place at the vendor waits at most before it asks again."""
MAX_COPY_ATTEMPTS = 6
"""How often one output is copied before its item is given up; the run is paid, so `retry` may copy again."""
MAX_POLL_ATTEMPTS = 6
"""How often the vendor may say that it has no such task before we believe it."""
MAX_REFUSALS = 100
"""How often a run may be turned away without counting as an attempt (rate limit, no connection, window)."""


def poll_delay(age_s: float, *, expects_callback: bool, poll_after_s: float) -> float:
    """How long to leave a run alone that was posted `age_s` ago and has not ended.

    Where a callback is expected the first look waits for `poll_after_s` of silence. Intervals grow with age, so
    that a run is never polled more than about twenty times an hour.
    """
    if expects_callback and age_s < poll_after_s:
        return poll_after_s - age_s
    return min(max(FIRST_POLL_S, age_s * 0.25), MAX_POLL_S)


def backoff(tries: int, chance: float, *, first_s: float = 1.0) -> float:
    """Exponential backoff with full jitter over its upper half. `tries` counts from 1; `chance` is in [0, 1)."""
    ceiling = min(first_s * 2.0 ** min(tries - 1, 16), MAX_BACKOFF_S)
    return ceiling * (0.5 + chance / 2)


@dataclass(frozen=True)
class Tolerance:
    """How many failed items a batch may have before it is stopped."""

    limit: int

    @classmethod
    def of(cls, text: str | None, total: int) -> Tolerance:
        """`text` is a number of items ("10"), a share of `total` ("10%"), or None for no limit."""
        if text is None:
            return cls(total)
        if text.endswith("%"):
            return cls(int(Decimal(text[:-1]) * total / 100))
        return cls(int(text))
