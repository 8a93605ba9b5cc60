"""Counts of callbacks that no script counts, because the token is wrong or Redis is unavailable."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

_FLUSH_INTERVAL_S = 1.0


class BufferedCounter:
    """Counts in this process and writes the counts at most once a second, however many callbacks arrive. Thread-safe.

    `write` takes (outcome, count). If it fails, the counts go with the next write.
    """

    def __init__(self, write: Callable[[str, int], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._next_flush_s = 0.0

    def add(self, outcome: str) -> None:
        """Add 1 to `outcome`. Raises nothing."""
        now = time.monotonic()
        with self._lock:
            self._counts[outcome] += 1
            if now < self._next_flush_s:
                return
            self._next_flush_s = now + _FLUSH_INTERVAL_S
            counts, self._counts = self._counts, Counter()
        for name, count in counts.items():
            try:
                self._write(name, count)
            except Exception:
                # Whatever it is: the response to the caller matters more.
                with self._lock:
                    self._counts[name] += count
