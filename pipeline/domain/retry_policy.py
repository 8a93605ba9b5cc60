"""Polling intervals, backoff and retry limits. Pure: time and randomness are arguments.

All durations are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

FIRST_POLL_S = 2.0
MAX_POLL_S = 60.0
MAX_BACKOFF_S = 60.0
MAX_SLOT_WAIT_S = 10.0
"""Maximum wait of a run that found no free slot at the vendor."""
MAX_COPY_ATTEMPTS = 6
"""Maximum copies of one output before its item fails. The run is paid, so `retry` copies again and does not buy."""
MAX_POLL_ATTEMPTS = 6
"""Number of "no such task" responses in a row after which a task counts as lost."""
MAX_UNANSWERED_POLLS = 1_440
"""Number of polls in a row without a usable response after which a run fails: about a day, a poll each minute."""
MAX_UNANSWERED_STOPS = 30
"""The same for a run that must stop, and for the task that a callback names: about 25 minutes."""
MAX_UNPOSTED = 6
"""Number of unforeseen exceptions before the post after which an item fails."""
FIRST_SEARCH_S = 2.0
"""Wait before a lost run is searched for in the vendor's list of tasks; it doubles up to the period of the sweep."""
MAX_REFUSALS = 100
"""Maximum refusals of a run that do not count as attempts (rate limit, no connection, no free slot)."""


def poll_delay(age_s: float, *, expects_callback: bool, poll_after_s: float) -> float:
    """Return the seconds until the next poll of an active run that was posted `age_s` ago.

    If a callback is expected, the first poll is `poll_after_s` after the post. Intervals are a quarter of the age,
    between FIRST_POLL_S and MAX_POLL_S.
    """
    if expects_callback and age_s < poll_after_s:
        return poll_after_s - age_s
    return min(max(FIRST_POLL_S, age_s * 0.25), MAX_POLL_S)


def backoff(attempts: int, chance: float, *, first_s: float = 1.0) -> float:
    """Return an exponential backoff, jittered over its upper half. `attempts` counts from 1; `chance` is in [0, 1)."""
    ceiling = min(first_s * 2.0 ** min(attempts - 1, 16), MAX_BACKOFF_S)
    return ceiling * (0.5 + chance / 2)


@dataclass(frozen=True)
class Tolerance:
    """The number of failed items that a batch may have. One more stops it."""

    limit: int

    @classmethod
    def of(cls, text: str | None, total: int) -> Tolerance:
        """Parse a number of items ("10"), a share of `total` ("10%"), or None for no limit."""
        if text is None:
            return cls(total)
        if text.endswith("%"):
            return cls(int(Decimal(text[:-1]) * total / 100))
        return cls(int(text))
