"""Gather windows: images that arrive within `gather_s` of a rule become one batch."""

from __future__ import annotations

import threading

from pipeline.triggers.dispatch import Dispatcher
from pipeline.triggers.rule import Rule


class GatherWindows:
    """Submits the closed windows of a rule, whatever source its images come from."""

    pause_s = 1.0
    is_idle = False

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def run_once(self, dispatcher: Dispatcher, stopping: threading.Event) -> None:
        """Submit the windows that are closed. Raises StorageError, Unreachable, InvalidSettings."""
        dispatcher.submit_gathered(self._rule)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
