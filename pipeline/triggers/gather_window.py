"""Gathered images: when the window of a rule is over, its images become one batch."""

from __future__ import annotations

import threading

from pipeline.triggers.dispatch import Dispatcher
from pipeline.triggers.rule import Rule


class GatherWindows:
    """The windows of a rule, whichever source fills them."""

    pause_s = 1.0
    waits = False

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def step(self, dispatcher: Dispatcher, stopping: threading.Event) -> None:
        """Submit what is due. Raises StorageError, Unreachable, InvalidSettings."""
        dispatcher.submit_gathered(self._rule)

    def close(self) -> None:
        """There will be no further step."""
