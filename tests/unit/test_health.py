"""/readyz: a dependency that hangs or fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from support.waiting import WaitFor

from pipeline.errors import StorageError
from pipeline.web import health


def get_ready(app: Flask) -> tuple[int, dict[str, Any]]:
    response = app.test_client().get("/readyz")
    assert response.json
    return response.status_code, response.json


def an_app(**checks: Callable[[], object]) -> Flask:
    app = Flask(__name__)
    app.register_blueprint(health.blueprint(checks))
    return app


def test_a_check_that_hangs_runs_once_and_only_one_request_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 300.0)
    end, calls = threading.Event(), []

    def hang() -> None:
        calls.append(1)
        end.wait(300)

    app = an_app(s3=hang, redis=lambda: None)
    with ThreadPoolExecutor(50) as executor:
        requests = [executor.submit(get_ready, app) for _ in range(50)]
        wait_for(lambda: sum(request.done() for request in requests) == 49, "all but one request")
        others = [request.result() for request in requests if request.done()]
        end.set()
    assert {(status, document["s3"]) for status, document in others} == {(503, "is being checked")}
    assert calls == [1]


def test_the_last_result_has_its_age_and_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MAX_AGE_S", 0.0)
    results: list[Exception | None] = [None, StorageError("away", retryable=True), None]

    def check() -> None:
        if error := results.pop(0):
            raise error

    app = an_app(s3=check)
    assert [get_ready(app)[0] for _ in range(3)] == [200, 503, 200]
    monkeypatch.setattr(health, "MAX_AGE_S", 60.0)
    status, document = get_ready(app)
    assert (status, document["status"], document["s3"]) == (200, "ready", "ok")
    assert document["age_s"]["s3"] >= 0


def test_a_dependency_that_answers_again_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 0.3)
    monkeypatch.setattr(health, "MAX_AGE_S", 0.0)
    answers = threading.Event()
    app = an_app(s3=lambda: answers.wait(60))
    assert get_ready(app)[0] == 503
    answers.set()
    deadline = time.monotonic() + 30
    while get_ready(app)[0] != 200:
        assert time.monotonic() < deadline
