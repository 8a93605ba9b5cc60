"""What to do with an occurrence while the schedule's previous batch still runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pipeline.schedules.occurrences import Occurrence
from pipeline.schedules.schedule import Overlap, Schedule


class Action(Enum):
    """What to do with an occurrence that is due."""

    START = "start"
    WAIT = "wait"
    SKIP = "skip"


@dataclass(frozen=True)
class OverlapDecision:
    """What to do with an occurrence, and the reason if it is skipped."""

    action: Action
    reason: str = ""


def overlap_decision(
    schedule: Schedule, occurrence: Occurrence, *, running: str | None, is_one_waiting: bool
) -> OverlapDecision:
    """Return what to do with an occurrence that is due.

    `running`: a batch of the schedule that has not ended. `is_one_waiting`: an earlier occurrence waits for its end.
    """
    if schedule.overlap is Overlap.ALLOW or running is None:
        return OverlapDecision(Action.START)
    if occurrence.caught_up:
        return OverlapDecision(Action.WAIT)
    if schedule.overlap is Overlap.SKIP:
        return OverlapDecision(Action.SKIP, f"Batch {running} was still running.")
    if is_one_waiting:
        reason = f"Batch {running} was still running, and one occurrence was already waiting."
        return OverlapDecision(Action.SKIP, reason)
    return OverlapDecision(Action.WAIT)
