"""Gunicorn, which serves `pipeline.web:create_app()`."""

from __future__ import annotations

from typing import Any

from pipeline.settings import load
from pipeline.web.watches import close_on_sigterm

worker_class = "gthread"
threads = load().web_threads
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
    """Pages that watch a batch are let go when the process is to end: else it would wait for them."""
    close_on_sigterm()
