"""Errors as answers: RFC 9457 problem documents for machines, a page for browsers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.sansio.response import Response as AnyResponse

from pipeline.errors import (
    BatchOnlyOnS3,
    DailiesError,
    InvalidBatchId,
    InvalidManifest,
    InvalidSettings,
    NoSuchBatch,
    NoSuchItem,
    NoSuchSchedule,
    Problem,
    StorageError,
    Unreachable,
)

log = structlog.get_logger()

PROBLEM_TYPE = "application/problem+json"
MAX_ERRORS = 200
"""As many mistakes of a manifest as an answer lists."""
_MACHINE_PATHS = ("/api/", "/callbacks/", "/events/", "/metrics", "/openapi.json", "/healthz", "/readyz")
_STATUS: Sequence[tuple[type[DailiesError], int]] = (
    (NoSuchBatch, 404),
    (NoSuchSchedule, 404),
    (NoSuchItem, 404),
    (InvalidManifest, 422),
    (InvalidBatchId, 422),
    (BatchOnlyOnS3, 409),
    (Unreachable, 503),
    (InvalidSettings, 503),
)


def answer_errors(app: Flask) -> None:
    """Have every error of `app` answered here."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(DailiesError, _ours)
    app.register_error_handler(Exception, _bug)


def wants_html() -> bool:
    """Whether a person with a browser asks."""
    if request.path.startswith(_MACHINE_PATHS):
        return False
    best = request.accept_mimetypes.best_match(["application/json", "text/html"], default="application/json")
    return best == "text/html"


def problem(status: int, detail: str, errors: Sequence[Problem] = ()) -> Response:
    """An error as an answer. `errors` are mistakes with their places."""
    title = HTTPStatus(status).phrase
    if wants_html():
        page = render_template("error.html", title=title, status=status, detail=detail, errors=errors[:MAX_ERRORS])
        return Response(page, status, content_type="text/html; charset=utf-8")
    document: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if errors:
        document["errors"] = [
            {"line": error.line, "column": error.column, "message": error.message} for error in errors[:MAX_ERRORS]
        ]
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, status, content_type=PROBLEM_TYPE)


def _http(error: HTTPException) -> AnyResponse:
    if error.response is not None:
        return error.get_response()
    answer = problem(error.code or 500, error.description or "")
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            answer.headers[name] = value
    if error.code == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="dailies"'
    return answer


def _ours(error: DailiesError) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, StorageError):
        status = 503 if error.retryable else 502
    if status >= 500:
        log.warning("request_failed", path=_route(), error=str(error), kind=type(error).__name__)
    if isinstance(error, InvalidManifest):
        found = len(error.problems)
        return problem(status, f"The manifest has {found} mistake{'s' if found != 1 else ''}.", error.problems)
    answer = problem(status, str(error))
    if status == 503:
        answer.headers["Retry-After"] = "5"
    return answer


def _bug(error: Exception) -> AnyResponse:
    log.error("request_broke", path=_route(), exc_info=error)
    return _http(InternalServerError("This is a fault of the service. Its log says more."))


def _route() -> str:
    """The route that was asked for: a path itself may carry a secret."""
    return str(request.url_rule or "")
