"""Chance, from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline.sandbox.options import Options


class FaultRng(random.Random):
    """Random decisions that a seed repeats, as long as they are asked for in the same order."""

    def chance(self, share: float) -> bool:
        """True with a probability of `share`."""
        return share > 0 and self.random() < share

    def around(self, value: float, spread: float = 0.2) -> float:
        """A number within `spread` (a share) of `value`."""
        return value * self.uniform(1 - spread, 1 + spread)


@dataclass(frozen=True)
class FaultPlan:
    """What will become of a task; decided when it is taken."""

    fails: bool = False
    stuck: bool = False
    vanishes: bool = False
    overlong: bool = False
    first_url_expired: bool = False
    early: bool = False


def decide(rng: FaultRng, options: Options, prompt: str) -> FaultPlan:
    """Roll the dice for one task. A prompt with `#fail` in it always fails."""
    return FaultPlan(
        fails=rng.chance(options.fail) or "#fail" in prompt,
        stuck=rng.chance(options.stuck),
        vanishes=rng.chance(options.vanish),
        overlong=rng.chance(options.overlong),
        first_url_expired=rng.chance(options.expire_urls),
        early=rng.chance(options.early_callbacks),
    )
