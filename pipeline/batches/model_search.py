"""Search among the models of the vendor, for a person who types. Without the vendor there are no suggestions."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from pipeline.settings import Settings
from pipeline.wiro.client import ModelName, Wiro
from pipeline.wiro.errors import WiroError

MAX_TEXT = 100
MAX_FOUND = 20
_LIMIT = 100
"""Rows of a request, of which not all have every word."""
_READ_S = 5.0
_FRESH_S = 600.0
_RETRY_AFTER_S = 30.0
"""No request is sent for so long after one that failed."""
_MAX_CACHED = 256


@dataclass(frozen=True)
class FoundModels:
    """Models that match. `reason`: why there are none, '' if the vendor answered."""

    models: tuple[ModelName, ...]
    reason: str = ""


class ModelSearch:
    """Finds models by a part of their name or title. Thread-safe. Results are kept in memory for ten minutes.

    `wiro`: None without a key for the vendor.
    """

    def __init__(self, wiro: Wiro | None) -> None:
        self._wiro = wiro
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, FoundModels]] = {}
        self._failed: tuple[float, str] | None = None

    @classmethod
    def of(cls, settings: Settings) -> ModelSearch:
        """Return the search at the vendor of `settings`."""
        has_key = bool(settings.wiro_api_key.get_secret_value())
        return cls(Wiro.from_settings(settings, read_s=_READ_S) if has_key else None)

    def find(self, text: str) -> FoundModels:
        """Return at most MAX_FOUND models with every word of `text`. A failed request does not raise."""
        text = " ".join(text.lower().split())[:MAX_TEXT]
        now = time.monotonic()
        with self._lock:
            found_at, found = self._found.get(text, (0.0, None))
            if found and now - found_at < _FRESH_S:
                return found
            if self._failed and now - self._failed[0] < _RETRY_AFTER_S:
                return FoundModels((), self._failed[1])
        if self._wiro is None:
            return FoundModels((), "WIRO_API_KEY is not set")
        try:
            # The vendor may compare a text as a whole, so one word is sent and the others are compared here.
            rows = self._wiro.list_models(max(text.split(), key=len, default=""), limit=_LIMIT)
        except WiroError as error:
            self._failed = now, str(error)
            return FoundModels((), str(error))
        found = FoundModels(tuple(row for row in rows if _matches(row, text))[:MAX_FOUND])
        self._store(text, now, found)
        return found

    def _store(self, text: str, now: float, found: FoundModels) -> None:
        with self._lock:
            self._found.pop(text, None)
            if len(self._found) >= _MAX_CACHED:
                del self._found[next(iter(self._found))]
            self._found[text] = now, found
            self._failed = None


def _matches(model: ModelName, text: str) -> bool:
    names = f"{model.name} {model.title}".lower()
    return all(word in names for word in text.split())
