"""What happened over the life of a batch: at most SLOTS slices of it, however long it is and however many items it has.

batch:{id}:life   hash  `step`, how long a slice is (ms); {what}:{slice}, how often something happened in it: a run was
                        `started`, or an item came to an end, which is called by its state

Slices double when the batch outlives them. The scripts count, on their way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.ledger.keys import batch_key
from pipeline.ledger.scripts import ScriptRunner

SLOTS = 64
FIRST_STEP_S = 1
STARTED = "started"


@dataclass(frozen=True)
class Timeline:
    """Slices of `step_s` seconds from the beginning of a batch on: {what happened: how often}, in each."""

    step_s: float
    slices: tuple[Mapping[str, int], ...]


class TimelineStore:
    """What the ledger knows of a batch's life."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def read(self, batch_id: str, elapsed_s: float) -> Timeline:
        """The first `elapsed_s` seconds of a batch, and whatever came after them."""
        counted = self._redis.hgetall(f"{batch_key(batch_id)}:life")
        return timeline_from(counted, elapsed_s)


def timeline_from(counted: Mapping[str, str], elapsed_s: float) -> Timeline:
    """A life as the hash has it, in slices that reach over `elapsed_s`."""
    kept_s = step_s = int(counted.get("step", FIRST_STEP_S * 1000)) / 1000
    while elapsed_s > step_s * SLOTS:
        step_s *= 2
    slices = [Counter[str]() for _ in range(min(SLOTS, int(elapsed_s / step_s) + 1))]
    for name, number in counted.items():
        what, _, place = name.partition(":")
        if place:
            at = int(int(place) * kept_s / step_s)
            slices += [Counter() for _ in range(len(slices), at + 1)]
            slices[at][what] += int(number)
    return Timeline(step_s, tuple(slices))


def timeline_constants() -> str:
    """SLOTS and the first step as the scripts know them."""
    return f"local SLOTS, FIRST_STEP = {SLOTS}, {FIRST_STEP_S * 1000}\n"
