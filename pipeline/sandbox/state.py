"""What the handlers share: one object a sandbox."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from aiohttp import web

from pipeline.sandbox.auth import Gatekeeper
from pipeline.sandbox.engine import Engine


@dataclass
class State:
    """The works, the door, and what was counted at it."""

    engine: Engine
    gatekeeper: Gatekeeper
    requests: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


STATE = web.AppKey("state", State)


def base_url(request: web.Request) -> str:
    """Where the client reaches the sandbox."""
    return f"{request.scheme}://{request.host}"
