"""Whether the service is alive, and whether what it needs answers."""

from __future__ import annotations

import threading
import time

from flask import Blueprint, Response, jsonify

from pipeline.batches.service import Service
from pipeline.errors import IncompatibleSchema, StorageError, Unreachable
from pipeline.web.security.authentication import open_to_all

FRESH_S = 1.0


def blueprint(service: Service) -> Blueprint:
    """`GET /healthz` (this process answers) and `GET /readyz` (Redis and S3 answer it)."""
    routes = Blueprint("health", __name__)
    readiness = _Readiness(service)

    @routes.get("/healthz")
    @open_to_all
    def healthz() -> Response:
        return jsonify({"status": "alive"})

    @routes.get("/readyz")
    @open_to_all
    def readyz() -> Response:
        checks = readiness.checks()
        ready = all(check == "ok" for check in checks.values())
        answer = jsonify({"status": "ready" if ready else "not ready", **checks})
        answer.status_code = 200 if ready else 503
        return answer

    return routes


class _Readiness:
    """What answers, asked at most once a second: anybody may ask."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._asking = threading.Lock()
        self._asked_at = -FRESH_S
        self._checks: dict[str, str] = {}

    def checks(self) -> dict[str, str]:
        """{what is needed: 'ok' or what is wrong}"""
        with self._asking:
            if time.monotonic() - self._asked_at >= FRESH_S:
                self._checks = {"redis": _redis(self._service), "s3": _s3(self._service)}
                self._asked_at = time.monotonic()
            return self._checks


def _redis(service: Service) -> str:
    try:
        service.ledger.check_schema()
    except Unreachable:
        return "does not answer"
    except IncompatibleSchema:
        return "has data of an incompatible version"
    return "ok"


def _s3(service: Service) -> str:
    output = service.settings.output
    if output is None:
        return "ok"
    try:
        service.storage.info(f"{output}.dailies-check")
    except StorageError:
        return "does not answer"
    return "ok"
