"""The receiver of Wiro's completion callbacks.

The vendor calls at most three times, two seconds apart, and takes anything but 200 for a failure. So: check the
token, ring the bell, answer 200. What happened is asked of Task/Detail, by a worker.
"""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, abort, request
from werkzeug.exceptions import RequestEntityTooLarge

from pipeline.callbacks import CallbackSigner
from pipeline.errors import Unreachable
from pipeline.service import Service
from pipeline.trace import step
from pipeline.web.auth import open_to_all
from pipeline.wiro_answers import parse_callback

log = structlog.get_logger()

MOST_CALLBACK_BYTES = 2 * 1024 * 1024
"""As much of a body as is read: what is longer still rings, unread."""


def blueprint(service: Service, secret: str) -> Blueprint:
    """`POST /callbacks/wiro/{token}`: 200 for a valid token, whatever the body; 404 for any other."""
    routes = Blueprint("receiver", __name__)
    signer = CallbackSigner(secret) if secret else None

    @routes.post("/callbacks/wiro/<token>")
    @open_to_all
    def wiro(token: str) -> Response:
        run = signer.verify(token) if signer else None
        if run is None:
            abort(404)
        hint = parse_callback(_body())
        with step("callback", run, hint.task_id):
            try:
                if service.ledger.ring(run, hint.task_id, hint.token):
                    service.waker.wake("collect")
            except Unreachable as error:
                log.warning("callback_not_taken", error=str(error))
                abort(503)
            log.info("callback_received", status=hint.status)
        return Response(status=200)

    return routes


def _body() -> bytes:
    request.max_content_length = MOST_CALLBACK_BYTES
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        return b""
