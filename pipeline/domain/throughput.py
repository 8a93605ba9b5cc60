"""Throughput of a batch and the time that remains. Pure: times are arguments, in seconds."""

from __future__ import annotations

from collections.abc import Sequence

_WINDOW_S = 600.0
_MIN_SPAN_S = 1.0


def items_per_minute(ended: Sequence[int], step_s: float, elapsed_s: float) -> float | None:
    """Return how many items ended per minute in the last ten minutes; None if none did.

    `ended`: items that ended in each slice of `step_s` seconds since the batch was created. `elapsed_s`: seconds
    since then. The window begins at a slice, so it is longer than ten minutes where slices are long.
    """
    first = max(0, int((elapsed_s - _WINDOW_S) // step_s))
    count = sum(ended[first:])
    return 60 * count / max(elapsed_s - first * step_s, _MIN_SPAN_S) if count else None


def remaining_s(open_items: int, per_minute: float | None) -> float | None:
    """Return the seconds until `open_items` have ended at this throughput; None if it is unknown."""
    return 60 * open_items / per_minute if per_minute else None
