"""What the handlers share: one object a sandbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from pipeline.sandbox.auth import Authenticator
from pipeline.sandbox.engine import Engine


@dataclass
class State:
    """The works, the door, and what was counted at it."""

    engine: Engine
    authenticator: Authenticator
    requests: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    runs_in_air: int = 0
    most_runs_in_air: int = 0

    @contextmanager
    def a_run_in_air(self) -> Iterator[None]:
        """A Run has come and is not answered yet."""
        self.runs_in_air += 1
        self.most_runs_in_air = max(self.most_runs_in_air, self.runs_in_air)
        try:
            yield
        finally:
            self.runs_in_air -= 1


STATE = web.AppKey("state", State)


def base_url(request: web.Request) -> str:
    """Where the client reaches the sandbox."""
    return f"{request.scheme}://{request.host}"
