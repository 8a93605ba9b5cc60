"""The state that all handlers of one sandbox share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from pipeline.sandbox.auth import Authenticator
from pipeline.sandbox.engine import Engine
from pipeline.sandbox.forms import Form, read_form


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


async def request_form(request: web.Request) -> Form:
    """Return the fields of a request. Raises Refusal (0) if its body is invalid."""
    # `request.content_type` parses the header as mail, which takes 0.1 ms.
    return read_form(await request.read(), request.headers.get("Content-Type", ""))


def base_url(request: web.Request) -> str:
    """Return the address at which the client reaches the sandbox."""
    return f"{request.scheme}://{request.host}"
