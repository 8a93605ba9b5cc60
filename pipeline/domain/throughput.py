"""Throughput of a batch and the time that remains. Pure: times are arguments, in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_WINDOW_S = 600.0
_MIN_SPAN_S = 1.0


@dataclass(frozen=True)
class OpenWork:
    """What is left to do of a batch.

    `waiting`: items whose run has not started. `running`: (age in seconds, number) of runs that have started,
    youngest first. `slots`: how many runs may be active; None if no limit is known.
    """

    waiting: int
    running: Sequence[tuple[float, int]] = ()
    slots: int | None = None


def items_per_minute(ended: Sequence[int], step_s: float, elapsed_s: float, *, since_s: float = 0.0) -> float | None:
    """Return how many items ended per minute in the last ten minutes; None if none did.

    `ended`: items that ended in each slice of `step_s` seconds since the batch was created. `elapsed_s`: seconds
    since then. `since_s`: when the batch was opened again; it did no work in the pause before. The window begins at a
    slice, so it is longer than ten minutes where slices are long.
    """
    first = max(0, int(max(elapsed_s - _WINDOW_S, since_s) // step_s))
    count = sum(ended[first:])
    # A slice may begin before the batch was opened again.
    start_s = max(first * step_s, min(since_s, elapsed_s))
    return 60 * count / max(elapsed_s - start_s, _MIN_SPAN_S) if count else None


def running_ages(started: Sequence[int], step_s: float, elapsed_s: float, running: int) -> list[tuple[float, int]]:
    """Return (age, number) of the `running` runs that started last, youngest first: runs end in about their order.

    `started`: runs that started in each slice of `step_s` seconds.
    """
    ages = []
    for index in range(len(started) - 1, -1, -1):
        number = min(started[index], running)
        if number:
            # On average a run started in the middle of its slice.
            middle_s = min((index + 0.5) * step_s, (index * step_s + elapsed_s) / 2)
            ages.append((max(0.0, elapsed_s - middle_s), number))
            running -= number
    return ages


def remaining_s(work: OpenWork, usual_s: float | None, per_minute: float | None) -> float | None:
    """Return the seconds until all work has ended; None if it is unknown or nothing is left.

    `usual_s`: how long a run of the model usually takes. Without it, the throughput decides. A negative number: for so
    many seconds the last runs have taken longer than usual.
    """
    running = sum(number for _, number in work.running)
    if not work.waiting and not running:
        return None
    if usual_s is None:
        return 60 * (work.waiting + running) / per_minute if per_minute else None
    if not work.waiting:
        return usual_s - work.running[0][0]
    return _with_waiting(work, running, usual_s, per_minute)


def _with_waiting(work: OpenWork, running: int, usual_s: float, per_minute: float | None) -> float | None:
    """Return the time for runs that share the slots. If most runs take longer than usual, so will the next ones."""
    if not running and work.slots is None and not per_minute:
        return None
    run_s = max(usual_s, _median_age(work.running, running))
    left = [(max(run_s - age, 0.0), number) for age, number in work.running]
    busy = running or min(work.waiting, work.slots or 0)
    slots = min(max(busy, (per_minute or 0) / 60 * run_s, 1), work.waiting + running)
    total_s = work.waiting * run_s + sum(seconds * number for seconds, number in left)
    # The next run starts when the oldest one ends.
    return max(total_s / slots, run_s + (left[-1][0] if left else 0.0))


def _median_age(ages: Sequence[tuple[float, int]], total: int) -> float:
    seen = 0
    for age, number in ages:
        seen += number
        if 2 * seen >= total:
            return age
    return 0.0
