"""The vendor's descriptions of models, as they were read last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.ledger.keys import model_key
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.times import ms

LIFETIME_S = 7 * 86_400
MAX_CHARS = 1_000_000
"""A longer document is not stored."""


@dataclass(frozen=True)
class CachedModel:
    """A model as the vendor described it. `tool`: the object of Tool/Detail; its fractions are text."""

    tool: Mapping[str, Any]
    fetched_at: datetime


class ModelCache:
    """Stores the descriptions of models for LIFETIME_S seconds. Thread-safe. Models are compared without case."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def get(self, model: str) -> CachedModel | None:
        """Return the stored description of a model ("owner/name"), None if there is none, or none that can be read."""
        key = model_key(model)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.get(key)
            pipe.pttl(key)
            text, left_ms = pipe.execute()
        if text is None:
            return None
        # The age is from the time left, which the server counts: the clocks of two hosts may differ.
        age = timedelta(milliseconds=ms(LIFETIME_S) - left_ms)
        try:
            tool = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return CachedModel(tool, datetime.now(UTC) - age) if isinstance(tool, dict) else None

    def put(self, model: str, tool: Mapping[str, Any]) -> None:
        """Store the description of a model."""
        text = json.dumps(tool, separators=(",", ":"), default=str)
        if len(text) <= MAX_CHARS:
            self._redis.set(model_key(model), text, ex=LIFETIME_S)
