"""Whether the service is alive, and whether what it needs answers."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from pipeline.errors import StorageError, Unreachable
from pipeline.service import Service
from pipeline.web.auth import open_to_all


def blueprint(service: Service) -> Blueprint:
    """`GET /healthz` (this process answers) and `GET /readyz` (Redis and S3 answer it)."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    @open_to_all
    def healthz() -> Response:
        return jsonify({"status": "alive"})

    @routes.get("/readyz")
    @open_to_all
    def readyz() -> Response:
        checks = {"redis": _redis(service), "s3": _s3(service)}
        ready = all(check == "ok" for check in checks.values())
        answer = jsonify({"status": "ready" if ready else "not ready", **checks})
        answer.status_code = 200 if ready else 503
        return answer

    return routes


def _redis(service: Service) -> str:
    try:
        service.ledger.ping()
    except Unreachable:
        return "does not answer"
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
