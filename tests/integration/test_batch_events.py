"""The web process as the Procfile starts it: event streams, limits, shutdown."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import urllib3
from support.access import BEARER, TOKEN
from support.ledger_fixtures import a_batch, running
from support.waiting import WaitFor

from pipeline.domain.states import BatchState
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env

THREADS = 4
EVENTS = "/api/v1/batches/b/events"


@dataclass(frozen=True)
class Web:
    """A web process."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    pool: urllib3.PoolManager

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return self.pool.request("GET", self.url + path, headers=BEARER, preload_content=False)


@contextmanager
def a_web(valkey: str, s3: S3Env, log: Path) -> Iterator[Web]:
    with socket.socket() as listener, log.open("wb") as stderr:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "REDIS_URL": valkey,
            "AWS_ENDPOINT_URL_S3": s3.endpoint,
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            "PIPELINE_OUTPUT": f"s3://{s3.bucket}/events/",
            "PIPELINE_API_TOKEN": TOKEN,
            "PIPELINE_SECRET": "a-secret-of-the-tests",
            "PIPELINE_WEB_THREADS": str(THREADS),
            "LISTEN_FD": str(listener.fileno()),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.web"], env=environment, pass_fds=[listener.fileno()], stderr=stderr
        )
        # A connection before the process accepts waits in the backlog of the socket.
        pool = urllib3.PoolManager(maxsize=20, timeout=urllib3.Timeout(60), retries=False)
        found = Web(f"http://127.0.0.1:{listener.getsockname()[1]}", process, log, pool)
        try:
            assert found.get("/healthz").status == 200
            yield found
        finally:
            pool.clear()
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def web(valkey: str, s3_server: S3Env, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with a_web(valkey, s3_server, tmp_path_factory.mktemp("web") / "log") as found:
        yield found


def events(answer: urllib3.BaseHTTPResponse) -> Iterator[str]:
    """Yield the names of events as they arrive."""
    text = ""
    while piece := answer.read1(4096):
        text += piece.decode()
        while "\n\n" in text:
            event, _, text = text.partition("\n\n")
            if event.startswith("event: "):
                yield event.partition("\n")[0].removeprefix("event: ")


def test_a_stream_follows_a_batch_to_its_end(web: Web, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    names = events(web.get(EVENTS))
    assert next(names) == "progress"
    running(ledger, 1)
    assert next(names) == "progress"
    ledger.redis.hset("dailies:batch:b", "status", "succeeded")
    assert list(names) == ["progress", "end"]


def test_streams_take_half_of_the_threads_and_the_others_serve_requests(
    web: Web, ledger: Ledger, wait_for: WaitFor
) -> None:
    a_batch(ledger, items=1)
    watching = [web.get(EVENTS) for _ in range(THREADS // 2)]
    assert [answer.status for answer in watching] == [200] * (THREADS // 2)
    refused = web.get(EVENTS)
    assert refused.status == 503
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert web.get("/api/v1/batches/b").status == 200
    for answer in watching:
        answer.close()

    def a_slot_is_free() -> bool:
        # A write detects a closed connection, and each change causes one.
        ledger.batches.set_status(
            "b", BatchState.PAUSED, among=[BatchState.RUNNING, BatchState.PAUSED], reason=uuid4().hex
        )
        return web.get(EVENTS).status == 200

    wait_for(a_slot_is_free, "a slot")


def test_shutdown_closes_event_streams(valkey: str, s3_server: S3Env, ledger: Ledger, tmp_path: Path) -> None:
    a_batch(ledger, items=1)
    with a_web(valkey, s3_server, tmp_path / "log") as web:
        watching = events(web.get(EVENTS))
        assert next(watching) == "progress"
        web.process.send_signal(signal.SIGTERM)
        assert list(watching) == []
        assert web.process.wait(timeout=10) == 0


def test_a_body_of_50_mb_is_refused_at_once(web: Web) -> None:
    big = bytes(50 * 1024 * 1024)
    answer = web.pool.request("POST", f"{web.url}/api/v1/batches", headers=BEARER, body=big)
    assert answer.status == 413
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_body_without_a_length_is_refused_when_it_gets_too_long(web: Web) -> None:
    pieces = (bytes(64 * 1024) for _ in range(400))
    answer = web.pool.request("POST", f"{web.url}/api/v1/batches", headers=BEARER, body=pieces, chunked=True)
    assert answer.status == 413


def test_headers_that_are_too_long_are_refused(web: Web) -> None:
    answer = web.pool.request("GET", f"{web.url}/api/v1/batches", headers={**BEARER, "X-Long": "x" * 20_000})
    assert answer.status == 431


def test_requests_are_logged_without_secrets(web: Web, ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=1)
    for path in (f"/api/v1/batches/b/items?text={TOKEN}", f"/{TOKEN}", f"/callbacks/wiro/{TOKEN}"):
        web.get(path).drain_conn()
    web.pool.request("GET", f"{web.url}/api/v1/batches/b", headers={"Authorization": f"Bearer {TOKEN}x"})
    wait_for(lambda: '"status": 401' in web.log.read_text(), "the log lines")
    logged = web.log.read_text()
    assert '"route": "/api/v1/batches/<batch_id>/items", "status": 200' in logged
    assert TOKEN not in logged


def test_clients_that_keep_connections_open_delay_no_other(web: Web) -> None:
    """A server that waited for each of these, one after the other, would take more than a minute."""
    place = urlsplit(web.url)
    with ExitStack() as calls:
        slow = []
        for _ in range(40):
            call = calls.enter_context(socket.create_connection((place.hostname, place.port), timeout=30))
            call.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            slow.append(call)
        for call in slow:
            assert call.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert web.get("/healthz").status == 200
