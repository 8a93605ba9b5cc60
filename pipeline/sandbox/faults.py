"""Random faults, from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline.sandbox.options import Options
from pipeline.sandbox.prompt_faults import NO_FAULTS, Faults


class FaultRng(random.Random):
    """A random generator that repeats its decisions for the same seed and the same order of calls."""

    def chance(self, share: float) -> bool:
        """Return True with a probability of `share`."""
        return share > 0 and self.random() < share

    def around(self, value: float, spread: float = 0.2) -> float:
        """Return a number within `spread` (a share) of `value`."""
        return value * self.uniform(1 - spread, 1 + spread)


@dataclass(frozen=True)
class FaultPlan:
    """The faults of a task, decided when it is taken."""

    fails: bool = False
    stuck: bool = False
    vanishes: bool = False
    overlong: bool = False
    first_url_expired: bool = False
    early: bool = False
    without_pexit: bool = False
    task_error: bool = False


def decide(rng: FaultRng, options: Options, prompt: str, named: Faults = NO_FAULTS, attempt: int = 1) -> FaultPlan:
    """Return the faults of one task. A prompt that contains `#fail` always fails.

    named: the faults that the prompt lists. attempt: the task's number (from 1) among those with its prompt.
    """
    return FaultPlan(
        fails=rng.chance(options.fail) or "#fail" in prompt or ("task fails once" in named and attempt == 1),
        stuck=rng.chance(options.stuck) or "task never ends" in named,
        vanishes=rng.chance(options.vanish),
        overlong=rng.chance(options.overlong),
        first_url_expired=rng.chance(options.expire_urls) or "cdn expired" in named,
        early=rng.chance(options.early_callbacks),
        without_pexit=rng.chance(options.without_pexit),
        task_error=rng.chance(options.task_error),
    )
