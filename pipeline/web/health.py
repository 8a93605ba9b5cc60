"""`GET /healthz`: the process serves requests. `GET /readyz`: Redis and S3 respond."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from flask import Blueprint, Response, jsonify

from pipeline.errors import DailiesError, IncompatibleSchema
from pipeline.web.security.authentication import open_to_all

MAX_AGE_S = 1.0

Checks = Mapping[str, Callable[[], object]]
"""{name of a dependency: a call that raises DailiesError if it does not respond}"""


def blueprint(checks: Checks) -> Blueprint:
    """Return the routes. Both need no token, so `checks` run at most once per MAX_AGE_S seconds."""
    routes = Blueprint("health", __name__)
    readiness = _Readiness(checks)

    @routes.get("/healthz")
    @open_to_all
    def healthz() -> Response:
        return jsonify({"status": "alive"})

    @routes.get("/readyz")
    @open_to_all
    def readyz() -> Response:
        results = readiness.results()
        ready = all(result == "ok" for result in results.values())
        response = jsonify({"status": "ready" if ready else "not ready", **results})
        response.status_code = 200 if ready else 503
        return response

    return routes


class _Readiness:
    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._lock = threading.Lock()
        self._checked_s = -MAX_AGE_S
        self._results: dict[str, str] = {}

    def results(self) -> dict[str, str]:
        """Return {name: 'ok' or what is wrong}."""
        with self._lock:
            if time.monotonic() - self._checked_s >= MAX_AGE_S:
                self._results = {name: _result(check) for name, check in self._checks.items()}
                self._checked_s = time.monotonic()
            return self._results


def _result(check: Callable[[], object]) -> str:
    try:
        check()
    except IncompatibleSchema:
        return "has data of an incompatible version"
    except DailiesError:
        return "does not answer"
    return "ok"
