"""A bound for log lines about what every client can send: a caller without rights must not fill the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MAX_LINES = 60
PERIOD_S = 60.0


class LineLimit:
    """At most `max_lines` in `period_s` seconds. Thread-safe."""

    def __init__(
        self, max_lines: int = MAX_LINES, period_s: float = PERIOD_S, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_lines = max_lines
        self._period_s = period_s
        self._clock = clock
        self._lock = threading.Lock()
        self._began_s = clock()
        self._lines = 0
        self._left_out = 0

    def take(self) -> int | None:
        """Return how many lines were left out since the last one; None if this one must be left out, too."""
        with self._lock:
            now = self._clock()
            if now - self._began_s >= self._period_s:
                self._began_s, self._lines = now, 0
            if self._lines >= self._max_lines:
                self._left_out += 1
                return None
            self._lines += 1
            left_out, self._left_out = self._left_out, 0
            return left_out
