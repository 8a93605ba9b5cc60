"""Callbacks that reach no run, counted: on the ledger once a second at most, however many come."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from pipeline.errors import DailiesError

_EVERY_S = 1.0


class Tally:
    """Counts for a process, and gives (outcome, number) to `tell`. Thread-safe. What is not told goes with the next."""

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        self._tell = tell
        self._changing = threading.Lock()
        self._counted: Counter[str] = Counter()
        self._next_s = 0.0

    def count(self, outcome: str) -> None:
        """One more of `outcome`. Never raises: the count waits while Redis is away."""
        now = time.monotonic()
        with self._changing:
            self._counted[outcome] += 1
            if now < self._next_s:
                return
            self._next_s = now + _EVERY_S
            counted, self._counted = self._counted, Counter()
        for name, number in counted.items():
            try:
                self._tell(name, number)
            except DailiesError:
                with self._changing:
                    self._counted[name] += number
