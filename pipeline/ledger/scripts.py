"""Lua scripts of a package: loaded once, run by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError

from pipeline.ledger import redis_client
from pipeline.ledger.durability import run_durably
from pipeline.ledger.keys import PREFIX

_PRELUDE = Path(__file__).with_name("lua") / "_prelude.lua"


class ScriptRunner:
    """Runs the scripts of a folder by their file names. Thread-safe. Each method may raise Unreachable.

    `redis`: a client of `redis_client.connect`. `libraries`: names of Lua files of the folder that precede every
    script, after the prelude that all packages share. `constants`: Lua source before them.
    """

    def __init__(self, redis: Any, folder: Path, *, libraries: Sequence[str] = (), constants: str = "") -> None:
        self.redis = redis
        sources = [_PRELUDE, *(folder / f"{name}.lua" for name in libraries)]
        shared = constants + "".join(source.read_text() for source in sources)
        self._scripts = {
            path.stem: redis.register_script(shared + path.read_text())
            for path in folder.glob("*.lua")
            if not path.stem.startswith("_")
        }

    def run(self, script: str, *args: object) -> Any:
        """Run a script."""
        try:
            return self._scripts[script](keys=[PREFIX], args=args)
        except NoScriptError as error:  # also after it was loaded
            raise redis_client.in_words(self.redis, error) from error

    def run_durably(self, script: str, *args: object) -> Any:
        """Run a script and wait until its writes are on the server's disk."""
        return run_durably(self.redis, self._scripts[script], PREFIX, *args)
