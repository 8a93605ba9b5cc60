"""Gunicorn, which serves `pipeline.web:create_app()`."""

from __future__ import annotations

import gc
import os
from typing import Any

from pipeline.settings import load
from pipeline.web.api.sse_subscriptions import close_on_sigterm

_SETTINGS = load()
# Without a token nobody is asked who they are, so nobody else is let in.
_ADDRESS = "0.0.0.0" if _SETTINGS.api_token else "127.0.0.1"  # noqa: S104  behind the token
# Under `up` the socket is there already, and stays while this process is away: callbacks wait in it meanwhile.
_SOCKET = os.environ.get("LISTEN_FD")
bind = f"fd://{_SOCKET}" if _SOCKET else f"{_ADDRESS}:{os.environ.get('PORT', '8000')}"
worker_class = "pipeline.web.gunicorn_worker.PatientWorker"
threads = _SETTINGS.web_threads
backlog = 8192
keepalive = 5
graceful_timeout = 25
timeout = 60
# Header lines and how many of them; bodies are bounded by the app.
limit_request_line = 4094
limit_request_fields = 60
limit_request_field_size = 8190
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """Pages that watch a batch are let go when the process is to end: else it would wait for them.

    What was loaded stays: the collector of garbage need not look through it again while callbacks wait.
    """
    close_on_sigterm()
    gc.collect()
    gc.freeze()
