"""The web server process: waitress with the limits of this service.

One thread reads all connections, so a slow client takes no request thread. A request thread gets a complete request.
Bodies above 512 KiB are kept in temporary files.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Mapping
from logging import ERROR, getLogger
from socket import IPPROTO_TCP, socket
from threading import Event, Thread
from typing import Any

from flask import Flask
from waitress import create_server

MAX_CONNECTIONS = 1000
MAX_HEADER_BYTES = 16 * 1024
"""Request line and headers together. A longer head is refused with 431."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""A longer body is refused with 413 before it is read. The app has a lower limit for each route."""
IDLE_TIMEOUT_S = 20
DRAIN_TIMEOUT_S = 25.0
STALL_TIMEOUT_S = 120
"""A client that reads nothing of a response for so long loses its connection: it holds a request thread."""
_BACKLOG = 8192
_FILES_FOR_CLIENTS = 256


def serve(app: Flask, shutdown: Event, *, threads: int, listen: Mapping[str, object]) -> None:
    """Serve `app` until `shutdown` is set, then complete the requests that have arrived.

    `listen` comes from `listen_address`. Raises OSError if the address is not free.
    """
    _allow_open_files()
    # A full queue is normal under load: waitress would write a line for each request.
    getLogger("waitress.queue").setLevel(ERROR)
    server: Any = create_server(
        app,
        **listen,
        threads=threads,
        backlog=_BACKLOG,
        connection_limit=MAX_CONNECTIONS,
        channel_timeout=IDLE_TIMEOUT_S,
        cleanup_interval=5,
        max_request_header_size=MAX_HEADER_BYTES,
        max_request_body_size=MAX_BODY_BYTES,
        asyncore_use_poll=True,
        # The app reads the headers of PIPELINE_TRUSTED_PROXIES: waitress takes one address of a proxy, and no networks.
        clear_untrusted_proxy_headers=False,
        log_socket_errors=False,
        ident=None,
    )
    _close_stalled_connections(server)
    # Objects loaded at the start stay: garbage collection skips them.
    gc.collect()
    gc.freeze()
    Thread(target=_run, args=(server, shutdown), name="connections", daemon=True).start()
    shutdown.wait()
    _drain(server)


def listen_address(environ: Mapping[str, str]) -> dict[str, object]:
    """Return where to listen: the inherited socket LISTEN_FD, else PORT (default 8000) on every address.

    `dailies up` opens the socket, so that callbacks wait in its backlog while the web process restarts.
    """
    if fd := environ.get("LISTEN_FD"):
        return {"sockets": [socket(fileno=int(fd))]}
    return {"listen": f"0.0.0.0:{environ.get('PORT', '8000')}"}


def _run(server: Any, shutdown: Event) -> None:
    try:
        server.run()
    finally:
        shutdown.set()


def _drain(server: Any) -> None:
    """Stop accepting connections and wait until no request is open."""
    server.accepting = False
    server.pull_trigger()
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while time.monotonic() < deadline and _open_requests(server):
        time.sleep(0.05)


def _open_requests(server: Any) -> bool:
    return any(channel.requests or channel.total_outbufs_len for channel in list(server.active_channels.values()))


def _close_stalled_connections(server: Any) -> None:
    """Let the kernel close connections whose client reads nothing for STALL_TIMEOUT_S. Waitress has no such limit."""
    if sys.platform == "linux":
        from socket import TCP_USER_TIMEOUT

        # Connections inherit the option from the socket that accepts them.
        server.socket.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, STALL_TIMEOUT_S * 1000)


def _allow_open_files() -> None:
    """Raise the limit of open files: a connection may need a socket and two temporary files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * MAX_CONNECTIONS + _FILES_FOR_CLIENTS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
