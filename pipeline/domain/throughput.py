"""Throughput of a batch and the time left. Pure: the time is an argument, in seconds of any clock."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 600.0
_MAX_SAMPLES = 2000


class Throughput:
    """Items that end per minute, over the last ten minutes of samples."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=_MAX_SAMPLES)

    def note(self, now_s: float, ended: int) -> None:
        """Record the number of ended items. If it is smaller than before, the batch was reopened: start again."""
        if self._samples and ended < self._samples[-1][1]:
            self._samples.clear()
        if not self._samples or ended > self._samples[-1][1]:
            self._samples.append((now_s, ended))
        while len(self._samples) > 2 and self._samples[1][0] < now_s - _WINDOW_S:
            self._samples.popleft()

    def per_minute(self, now_s: float) -> float | None:
        """Return items per minute, None before an item has ended."""
        if len(self._samples) < 2:
            return None
        (first_s, first), (_, last) = self._samples[0], self._samples[-1]
        return 60 * (last - first) / max(now_s - first_s, 1e-3)

    def left_s(self, now_s: float, still_open: int) -> float | None:
        """Return the seconds until `still_open` items have ended, None if there is no speed yet."""
        speed = self.per_minute(now_s)
        return 60 * still_open / speed if speed else None
