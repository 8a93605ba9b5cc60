"""`doctor` names a PIPELINE_PUBLIC_URL that holds the path of callbacks, and a secret with a line end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from werkzeug.serving import make_server

from pipeline.doctor.findings import Severity
from pipeline.doctor.public_url import check_public_url
from pipeline.settings import Settings, load
from pipeline.web.app import create_app


@pytest.fixture
def settings(redis_url: str) -> Settings:
    environment = {"REDIS_URL": redis_url, "PIPELINE_SECRET": "a-secret", "WIRO_API_URL": "http://127.0.0.1:1"}
    return load(environment)


@pytest.fixture
def receiver(settings: Settings) -> Iterator[str]:
    """Run the web process; yield its URL."""
    server = make_server("127.0.0.1", 0, create_app(settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["/callbacks", "/callbacks/wiro"])
def test_a_public_url_with_the_path_of_callbacks_is_named(settings: Settings, receiver: str, path: str) -> None:
    [finding] = check_public_url(settings.model_copy(update={"public_url": receiver + path}))
    assert finding.severity is Severity.WRONG
    assert "PIPELINE_PUBLIC_URL contains /callbacks, which the service adds itself" in finding.message
    assert finding.fix == "Write only what precedes /callbacks."


def test_another_redis_of_the_web_process_is_named(settings: Settings, receiver: str) -> None:
    other = settings.redis_url.replace("db=0", "db=1")
    assert other != settings.redis_url
    [finding] = check_public_url(settings.model_copy(update={"public_url": receiver, "redis_url": other}))
    assert finding.severity is Severity.WRONG
    assert "its web process uses another Redis" in finding.message
    assert "Set the same REDIS_URL" in finding.fix


def test_a_line_end_in_the_secret_is_a_note(redis_url: str) -> None:
    environment = {"REDIS_URL": redis_url, "PIPELINE_SECRET": "a-secret\n", "PIPELINE_PUBLIC_URL": "http://127.0.0.1:1"}
    note, *_ = check_public_url(load({**environment, "WIRO_API_URL": "http://127.0.0.1:1"}))
    assert note.severity is Severity.NOTE
    assert "PIPELINE_SECRET begins or ends with a blank or a line end" in note.message
