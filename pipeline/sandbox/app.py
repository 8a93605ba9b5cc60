"""The sandbox as one aiohttp application on one port, and a function that runs it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web

from pipeline.sandbox import api, cdn, control, models_api, websocket
from pipeline.sandbox.auth import Authenticator
from pipeline.sandbox.engine import Engine
from pipeline.sandbox.middleware import api_rules
from pipeline.sandbox.options import Options
from pipeline.sandbox.state import STATE, SandboxState

_MAX_OUTGOING_CONNECTIONS = 100
_SHUTDOWN_S = 0.5


def create_app(options: Options, folder: Path | None = None) -> web.Application:
    """Return API, WebSocket, CDN and control of one sandbox. `folder` keeps its tasks over a restart."""
    app = web.Application(middlewares=[api_rules], client_max_size=api.MAX_BODY_BYTES)
    for routes in (api.routes, models_api.routes, websocket.routes, cdn.routes, control.routes):
        app.add_routes(routes)

    async def lifespan(app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=_MAX_OUTGOING_CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector) as session:
            engine = Engine(options, session, folder)
            app[STATE] = SandboxState(engine, Authenticator(options.api_key, options.api_secret))
            yield
            await engine.close()

    app.cleanup_ctx.append(lifespan)
    return app


def serve(options: Options, host: str = "127.0.0.1", port: int = 0, folder: Path | None = None) -> None:
    """Run a sandbox until SIGTERM or SIGINT. Port 0 takes a free one; the first line on stdout names it.

    Raises OSError if the port is in use.
    """
    asyncio.run(_serve(options, host, port, folder))


async def _serve(options: Options, host: str, port: int, folder: Path | None) -> None:
    runner = web.AppRunner(create_app(options, folder), access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        listener = socket.create_server((host, port), backlog=1024)
        await web.SockSite(runner, listener).start()
        base = f"{host}:{listener.getsockname()[1]}"
        print(
            f"Sandbox on http://{base}/v1 (WebSocket ws://{base}/v1, control http://{base}/_sandbox/stats)", flush=True
        )
        await _shutdown_requested()
    finally:
        await runner.cleanup()


async def _shutdown_requested() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
