"""A log line for each authenticated request and for each refused one."""

from __future__ import annotations

import time

import structlog
from flask import Flask, Response, g, request

from pipeline.observability.line_limit import LineLimit

log = structlog.get_logger()


def log_requests(app: Flask) -> None:
    """Log the requests of `app`. Health checks and callbacks need no token: they write log lines of their own.

    Every client can send requests that are refused: only some of them are logged in a minute.
    """
    refused = LineLimit()

    @app.before_request
    def start() -> None:
        g.started_s = time.monotonic()

    @app.after_request
    def finish(response: Response) -> Response:
        who = g.get("who")
        is_refused = who is None and response.status_code in (401, 403, 429)
        left_out = refused.take() if is_refused else 0
        if (who is not None or is_refused) and left_out is not None:
            log.info(
                "request",
                method=request.method,
                # The route, not the URL: a path or a query may contain a secret.
                route=str(request.url_rule or ""),
                status=response.status_code,
                ms=round((time.monotonic() - g.started_s) * 1000, 1),
                who=who,
                address=request.remote_addr,
                **({"left_out": left_out} if left_out else {}),
                **_ids(),
            )
        return response


def _ids() -> dict[str, str]:
    """Return the ids of the batch and the item in the path."""
    args = request.view_args or {}
    return {field: args[name] for field, name in (("batch", "batch_id"), ("item", "item_id")) if name in args}
