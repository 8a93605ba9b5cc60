"""Chance, from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline.sandbox.options import Options


class Dice(random.Random):
    """Random decisions that a seed repeats, as long as they are asked for in the same order."""

    def chance(self, share: float) -> bool:
        """True with a probability of `share`."""
        return share > 0 and self.random() < share

    def around(self, value: float, spread: float = 0.2) -> float:
        """A number within `spread` (a share) of `value`."""
        return value * self.uniform(1 - spread, 1 + spread)


@dataclass(frozen=True)
class Fate:
    """What will become of a task; decided when it is taken."""

    fails: bool = False
    stuck: bool = False
    vanishes: bool = False
    overlong: bool = False
    first_url_expired: bool = False
    early: bool = False


def decide(dice: Dice, options: Options, prompt: str) -> Fate:
    """Roll the dice for one task. A prompt with `#fail` in it always fails."""
    return Fate(
        fails=dice.chance(options.fail) or "#fail" in prompt,
        stuck=dice.chance(options.stuck),
        vanishes=dice.chance(options.vanish),
        overlong=dice.chance(options.overlong),
        first_url_expired=dice.chance(options.expire_urls),
        early=dice.chance(options.early_callbacks),
    )
