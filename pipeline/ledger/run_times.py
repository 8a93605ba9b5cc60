"""How long runs of each model take. `record_success.lua` records it for each run that succeeds."""

from __future__ import annotations

from pipeline.ledger.keys import run_time_key
from pipeline.ledger.scripts import ScriptRunner


class RunTimeStore:
    """Reads the usual time of runs. Thread-safe. Models are compared without case."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def usual_s(self, model: str) -> float | None:
        """Return the mean time in seconds of about the last 20 runs of a model; None if none has succeeded lately."""
        mean_ms = self._redis.hget(run_time_key(model), "mean")
        return int(mean_ms) / 1000 if mean_ms else None
