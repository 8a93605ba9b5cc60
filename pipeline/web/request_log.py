"""A log line for every request that somebody made: who asked for what, and how it went."""

from __future__ import annotations

import time

import structlog
from flask import Flask, Response, g, request

log = structlog.get_logger()


def log_requests(app: Flask) -> None:
    """Log the requests of `app`; those open to all (health, callbacks) say themselves what there is to say."""

    @app.before_request
    def begin() -> None:
        g.began = time.monotonic()

    @app.after_request
    def tell(answer: Response) -> Response:
        who = g.get("who")
        if who is not None or answer.status_code in (401, 403):
            log.info(
                "request",
                method=request.method,
                # The route and its names, never the address as it came: a query may hold what is nobody's business.
                route=str(request.url_rule or ""),
                status=answer.status_code,
                ms=round((time.monotonic() - g.began) * 1000, 1),
                who=who,
                address=request.remote_addr,
                **_names(),
            )
        return answer


def _names() -> dict[str, str]:
    """The batch and the item that the request is about."""
    given = request.view_args or {}
    return {field: given[name] for field, name in (("batch", "batch_id"), ("item", "item_id")) if name in given}
