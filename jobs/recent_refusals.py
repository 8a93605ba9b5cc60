"""Refusals of the whole account, or of a model, that this process got a moment ago.

A group of runs is leased and posted at the same time. After such a refusal those that are not posted yet go back: the
vendor would refuse them as well. Later runs are not leased, because the ledger has the pause.
"""

from __future__ import annotations

import time

_RECENT_S = 1.0
_ACCOUNT = ""


class RecentRefusals:
    """Keeps refusals for a second. Thread-safe."""

    def __init__(self) -> None:
        self._refused_at: dict[str, float] = {}

    def record(self, model: str = _ACCOUNT) -> None:
        """Record a refusal of `model`; without a model, of the whole account."""
        self._refused_at[model] = time.monotonic()

    def is_refused(self, model: str) -> bool:
        """Return whether the account, or `model`, was refused less than a second ago."""
        now = time.monotonic()
        return any(now - self._refused_at.get(name, -_RECENT_S) < _RECENT_S for name in (_ACCOUNT, model))
