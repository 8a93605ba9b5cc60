"""How fast the items of a batch end, and how long the rest will take. Pure: the time is an argument, in seconds."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 600.0
_MAX_MARKS = 2000


class Throughput:
    """Speed over the last ten minutes that were watched."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MAX_MARKS)

    def note(self, now_s: float, ended: int) -> None:
        """So many items have ended by now. Fewer than before: the batch was opened again, watching begins anew."""
        if self._marks and ended < self._marks[-1][1]:
            self._marks.clear()
        if not self._marks or ended > self._marks[-1][1]:
            self._marks.append((now_s, ended))
        while len(self._marks) > 2 and self._marks[1][0] < now_s - _WINDOW_S:
            self._marks.popleft()

    def per_minute(self, now_s: float) -> float | None:
        """Items a minute; None before anything has ended."""
        if len(self._marks) < 2:
            return None
        (first_s, first), (_, last) = self._marks[0], self._marks[-1]
        return 60 * (last - first) / max(now_s - first_s, 1e-3)

    def left_s(self, now_s: float, still_open: int) -> float | None:
        """Seconds until the rest has ended, at this speed."""
        speed = self.per_minute(now_s)
        return 60 * still_open / speed if speed else None
