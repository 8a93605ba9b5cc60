"""/readyz: a dependency that hangs or fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

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


def test_a_check_that_hangs_runs_once_and_only_one_request_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 1.0)
    end, calls = threading.Event(), []

    def hang() -> None:
        calls.append(1)
        end.wait(60)

    app = an_app(s3=hang, redis=lambda: None)
    waits = []

    def request() -> None:
        began = time.monotonic()
        status, document = get_ready(app)
        waits.append(time.monotonic() - began)
        assert (status, document["s3"]) in ((503, "does not answer"), (503, "is being checked"))

    threads = [threading.Thread(target=request) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    end.set()
    assert len(waits) == 50
    assert calls == [1]
    assert sum(wait > 0.7 for wait in waits) == 1


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
