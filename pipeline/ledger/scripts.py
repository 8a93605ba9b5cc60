"""Runs the Lua scripts of a package: one prelude, one call for each script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.ledger.durability import run_durably


class ScriptRunner:
    """Every script of a folder, by its file name. Thread-safe. Each method may raise Unreachable.

    `redis`: a client of `redis_client.connect`. `prefix`: the common beginning of the keys, KEYS[1] of each script.
    `prelude`: Lua source that stands before every script, before `_common.lua` of the folder where there is one.
    """

    def __init__(self, redis: Any, folder: Path, prefix: str, prelude: str = "") -> None:
        self.redis = redis
        self._prefix = prefix
        common = folder / "_common.lua"
        shared = prelude + (common.read_text() if common.is_file() else "")
        self._scripts = {
            path.stem: redis.register_script(shared + path.read_text())
            for path in folder.glob("*.lua")
            if not path.stem.startswith("_")
        }

    def run(self, script: str, *args: object, prefix: str = "") -> Any:
        """Run a script. `prefix` replaces the runner's own."""
        return self._scripts[script](keys=[prefix or self._prefix], args=args)

    def run_durably(self, script: str, *args: object, prefix: str = "") -> Any:
        """Run a script and wait until what it wrote is on the server's disk."""
        return run_durably(self.redis, self._scripts[script], prefix or self._prefix, *args)
