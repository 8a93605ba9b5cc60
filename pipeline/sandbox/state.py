"""The state that all handlers of one sandbox share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from pipeline.sandbox.auth import Authenticator
from pipeline.sandbox.engine import Engine


@dataclass
class SandboxState:
    """The engine, the authenticator and the counts of requests."""

    engine: Engine
    authenticator: Authenticator
    requests: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    concurrent_runs: int = 0
    max_concurrent_runs: int = 0

    @contextmanager
    def counted_run(self) -> Iterator[None]:
        """Count a Run as concurrent until the end of the block."""
        self.concurrent_runs += 1
        self.max_concurrent_runs = max(self.max_concurrent_runs, self.concurrent_runs)
        try:
            yield
        finally:
            self.concurrent_runs -= 1


STATE = web.AppKey("state", SandboxState)


def base_url(request: web.Request) -> str:
    """Return the address at which the client reaches the sandbox."""
    return f"{request.scheme}://{request.host}"
