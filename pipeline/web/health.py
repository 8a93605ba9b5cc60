"""`GET /healthz`: the process serves requests. `GET /readyz`: Redis and S3 respond, and Redis takes writes.

A dependency that hangs holds one thread of its own and no request thread: one check of it runs at a time, the request
that started it waits at most CHECK_TIMEOUT_S, and all others get the last result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog
from flask import Blueprint, Response, jsonify

from pipeline.errors import DailiesError, IncompatibleSchema, ServiceRefuses, StorageError
from pipeline.web.security.authentication import open_to_all

MAX_AGE_S = 1.0
CHECK_TIMEOUT_S = 2.0

log = structlog.get_logger()

_MARGIN_S = 0.2
"""A request waits a little less than CHECK_TIMEOUT_S for the check that it started."""
_OK = "ok"
_NO_ANSWER = "does not answer"
_REFUSES = "refuses what the service needs; `dailies doctor` shows why"

Checks = Mapping[str, Callable[[], object]]
"""{name of a dependency: a call that raises DailiesError if it does not respond}"""


def blueprint(checks: Checks) -> Blueprint:
    """Return the routes. Both need no token, so each of `checks` runs at most once per MAX_AGE_S seconds."""
    routes = Blueprint("health", __name__)
    dependencies = {name: _Dependency(check) for name, check in checks.items()}

    @routes.get("/healthz")
    @open_to_all
    def healthz() -> Response:
        return jsonify({"status": "alive"})

    @routes.get("/readyz")
    @open_to_all
    def readyz() -> Response:
        deadline = time.monotonic() + CHECK_TIMEOUT_S
        started = [dependency for dependency in dependencies.values() if dependency.start_check()]
        for dependency in started:
            dependency.wait(deadline - time.monotonic())
        results = {name: dependency.result() for name, dependency in dependencies.items()}
        ready = all(result == _OK for result, _ in results.values())
        response = jsonify(
            {
                "status": "ready" if ready else "not ready",
                **{name: result for name, (result, _) in results.items()},
                "age_s": {name: round(age_s, 1) for name, (_, age_s) in results.items()},
            }
        )
        response.status_code = 200 if ready else 503
        return response

    return routes


class _Dependency:
    """The last result of a check, and the check that runs."""

    def __init__(self, check: Callable[[], object]) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._is_running = False
        self._started_s = 0.0
        self._result = "is being checked"
        self._result_s: float | None = None

    def start_check(self) -> bool:
        """Start a check in a thread if the last result is old and none runs. Return whether one was started."""
        with self._lock:
            now = time.monotonic()
            is_fresh = self._result_s is not None and now - self._result_s < MAX_AGE_S
            if self._is_running or is_fresh:
                return False
            self._is_running, self._started_s = True, now
            self._ended.clear()
        threading.Thread(target=self._run, name="readiness", daemon=True).start()
        return True

    def wait(self, timeout_s: float) -> None:
        """Wait until the check has ended, at most `timeout_s` seconds."""
        self._ended.wait(max(0.0, timeout_s))

    def result(self) -> tuple[str, float]:
        """Return 'ok' or what is wrong, and its age in seconds."""
        with self._lock:
            now = time.monotonic()
            if self._is_running and now - self._started_s > CHECK_TIMEOUT_S - _MARGIN_S:
                return _NO_ANSWER, now - self._started_s
            return self._result, 0.0 if self._result_s is None else now - self._result_s

    def _run(self) -> None:
        result = _result(self._check)
        with self._lock:
            self._result, self._result_s, self._is_running = result, time.monotonic(), False
        self._ended.set()


def _result(check: Callable[[], object]) -> str:
    try:
        check()
    except IncompatibleSchema:
        return "has data of an incompatible version"
    except ServiceRefuses:
        return _REFUSES
    except StorageError as error:
        return _NO_ANSWER if error.retryable else _REFUSES
    except DailiesError:
        return _NO_ANSWER
    except Exception as error:
        # Whatever it is, the next check must be able to run.
        log.error("readiness_check_failed", exc_info=error)
        return _NO_ANSWER
    return _OK
