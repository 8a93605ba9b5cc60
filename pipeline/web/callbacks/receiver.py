"""`POST /callbacks/wiro/{token}`: the vendor's completion callbacks.

Wiro sends a callback at most three times, two seconds apart, until the response is 200. The route verifies the token,
records the callback and returns 200. It does not trust the body: a worker reads Task/Detail.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import ClientDisconnected, MethodNotAllowed, RequestEntityTooLarge

from pipeline.domain.callback_tokens import LIVE_CHECK_BATCH, NOT_STORED, UNKNOWN_RUN, CallbackSigner, RunId
from pipeline.errors import DailiesError
from pipeline.observability.tracing import span
from pipeline.web.error_responses import problem
from pipeline.web.security.authentication import open_to_all
from pipeline.wiro.callbacks import parse_callback

log = structlog.get_logger()

NAME = "callbacks"
PATH = "/callbacks/wiro/"
MAX_CALLBACK_BYTES = 2 * 1024 * 1024
"""The route ignores a longer body, and records the callback."""

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Record = Callable[[RunId, str, str], None]
"""(run, task id, task token) → None. Raises Unreachable if Redis is unavailable."""


RecordCheck = Callable[[str, bytes], int]
"""(id of a check, body) → HTTP status of the response."""


def blueprint(
    signer: CallbackSigner | None, record: Record, record_check: RecordCheck, count: Callable[[str], None]
) -> Blueprint:
    """Return the route: 200 for a valid token, 404 for any other, 503 if `record` fails.

    `signer`: None refuses every token. `record_check` answers the callbacks of `doctor`. `count` takes the
    outcome of a callback that was not recorded.
    """
    routes = Blueprint(NAME, __name__)

    @routes.post(PATH, defaults={"token": ""})
    @routes.post(f"{PATH}<path:token>")
    @open_to_all
    def receive(token: str) -> Response:
        run = signer.verify(token) if signer else None
        if run is None:
            count("rejected")
            return _refuse(404, UNKNOWN_RUN)
        if run.batch == LIVE_CHECK_BATCH:
            status = record_check(run.item, _body())
            return Response(status=200, headers=_HEADERS) if status == 200 else _refuse(status, NOT_STORED)
        if not _record(record, run, _body()):
            count("unavailable")
            return _refuse(503, "The callback was not stored: Redis is unavailable. Send it again.")
        return Response(status=200, headers=_HEADERS)

    @routes.route(f"{PATH}<path:token>", methods=["GET", "PUT", "PATCH", "DELETE"])
    @open_to_all
    def refuse_method(token: str) -> Response:
        raise MethodNotAllowed(["POST"], "A callback is a POST request.")

    return routes


def _refuse(status: int, detail: str) -> Response:
    response = problem(status, detail)
    response.headers.update(_HEADERS)
    return response


def _record(record: Record, run: RunId, body: bytes) -> bool:
    hint = parse_callback(body)
    fields: dict[str, str | int] = {
        "batch": run.batch,
        "item": run.item,
        "attempt": run.attempt,
        "task": hint.task_id,
    }
    with span("callback", run, fields):
        try:
            record(run, hint.task_id, hint.token)
        except DailiesError as error:
            log.warning("callback_not_recorded", **fields, error=str(error))
            return False
    log.info("callback_received", **fields, status=hint.status)
    return True


def _body() -> bytes:
    """Return the body; b'' if it is too long or incomplete."""
    request.max_content_length = MAX_CALLBACK_BYTES
    try:
        return request.get_data(cache=False)
    except (RequestEntityTooLarge, ClientDisconnected):
        return b""
