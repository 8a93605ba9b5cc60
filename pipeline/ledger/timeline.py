"""Timelines: what happened in each slice of a batch's duration. The size is bounded.

The hash has the field `step` (length of a slice, ms) and a field `{event}:{slice}` for each count. An event is
`started` (a run started) or the state that an item ended in. The scripts count. When a batch outgrows MAX_SLICES
slices, their length doubles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.ledger.keys import timeline_key
from pipeline.ledger.numbers import whole
from pipeline.ledger.scripts import ScriptRunner

MAX_SLICES = 64
FIRST_STEP_S = 1
STARTED = "started"


@dataclass(frozen=True)
class Timeline:
    """{event: count} of each slice of `step_s` seconds since the batch was created."""

    step_s: float
    slices: tuple[Mapping[str, int], ...]

    @property
    def ended(self) -> list[int]:
        """How many items ended in each slice."""
        return [sum(count for name, count in slice_.items() if name != STARTED) for slice_ in self.slices]


class TimelineStore:
    """Reads timelines. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def read(self, batch_id: str, elapsed_s: float) -> Timeline:
        """Return the timeline of a batch that was created `elapsed_s` seconds ago."""
        return timeline_from(self._redis.hgetall(timeline_key(batch_id)), elapsed_s)


def timeline_from(counted: Mapping[str, str], elapsed_s: float) -> Timeline:
    """Return the timeline from its hash, in slices that cover `elapsed_s` and all events."""
    stored_s = step_s = (whole(counted.get("step")) or FIRST_STEP_S * 1000) / 1000
    while elapsed_s > step_s * MAX_SLICES:
        step_s *= 2
    slices = [Counter[str]() for _ in range(min(MAX_SLICES, int(elapsed_s / step_s) + 1))]
    for field, number in counted.items():
        event, _, stored_slice = field.partition(":")
        position = int(whole(stored_slice) * stored_s / step_s)
        if stored_slice.isascii() and stored_slice.isdecimal() and position < 2 * MAX_SLICES:
            slices += [Counter() for _ in range(len(slices), position + 1)]
            slices[position][event] += whole(number)
    return Timeline(step_s, tuple(slices))
