"""Errors as responses: RFC 9457 problem documents for programs, a page for browsers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.sansio.response import Response as AnyResponse

from pipeline.domain.formatting import pluralize
from pipeline.errors import (
    BatchAboveCeiling,
    BatchArchived,
    BatchOnlyOnS3,
    DailiesError,
    InvalidBatchId,
    InvalidItemId,
    InvalidManifest,
    InvalidSettings,
    NoSuchBatch,
    NoSuchItem,
    NoSuchSchedule,
    OtherContent,
    Problem,
    StorageError,
    SubmissionInterrupted,
    SubmissionReplaced,
    TooManyTakes,
    Unreachable,
)

log = structlog.get_logger()

PROBLEM_TYPE = "application/problem+json"
MAX_ERRORS = 200
"""A response lists at most this many errors of a manifest."""
_PROGRAM_PATHS = ("/api/", "/callbacks/", "/events/", "/metrics", "/openapi.json", "/healthz", "/readyz")
_STATUS: Sequence[tuple[type[DailiesError], int]] = (
    (NoSuchBatch, 404),
    (NoSuchSchedule, 404),
    (NoSuchItem, 404),
    (InvalidManifest, 422),
    (InvalidBatchId, 422),
    (BatchAboveCeiling, 422),
    (InvalidItemId, 422),
    (BatchOnlyOnS3, 409),
    (BatchArchived, 409),
    (OtherContent, 409),
    (TooManyTakes, 409),
    (SubmissionInterrupted, 409),
    (SubmissionReplaced, 409),
    (Unreachable, 503),
    (InvalidSettings, 503),
)


def handle_errors(app: Flask) -> None:
    """Return every error of `app` as a problem document or a page."""
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(DailiesError, _service_error)
    app.register_error_handler(Exception, _unexpected_error)


def wants_html() -> bool:
    """Return whether a browser requests a page."""
    if request.path.startswith(_PROGRAM_PATHS):
        return False
    best = request.accept_mimetypes.best_match(["application/json", "text/html"], default="application/json")
    return best == "text/html"


def error_page(status: int, detail: str, errors: Sequence[Problem] = ()) -> Response:
    """Return an error as a page. `errors` have their positions in the manifest."""
    title = HTTPStatus(status).phrase
    page = render_template("error.html", title=title, status=status, detail=detail, errors=errors[:MAX_ERRORS])
    return Response(page, status, content_type="text/html; charset=utf-8")


def problem(status: int, detail: str, errors: Sequence[Problem] = ()) -> Response:
    """Return an error as a response. `errors` have their positions in the manifest."""
    if wants_html():
        return error_page(status, detail, errors)
    title = HTTPStatus(status).phrase
    document: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if errors:
        document["errors"] = [
            {"line": error.line, "column": error.column, "message": error.message} for error in errors[:MAX_ERRORS]
        ]
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, status, content_type=PROBLEM_TYPE)


def _http_error(error: HTTPException) -> AnyResponse:
    if error.response is not None:
        return error.get_response()
    response = problem(error.code or 500, error.description or "")
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers[name] = value
    if error.code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="dailies"'
    return response


def _service_error(error: DailiesError) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, StorageError):
        status = 503 if error.retryable else 502
    if status >= 500:
        log.warning("request_failed", path=_route(), error=str(error), kind=type(error).__name__)
    if isinstance(error, InvalidManifest):
        return problem(status, f"The manifest has {pluralize(len(error.problems), 'mistake')}.", error.problems)
    response = problem(status, str(error))
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response


def _unexpected_error(error: Exception) -> AnyResponse:
    log.error("request_crashed", path=_route(), exc_info=error)
    return _http_error(
        InternalServerError("The service has a bug. Its log has the details, in the event request_crashed.")
    )


def _route() -> str:
    """Return the route, not the path: a path may contain a secret."""
    return str(request.url_rule or "")
