"""Clients that send slowly, or never complete a request, take no request thread and little memory."""

from __future__ import annotations

import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import urllib3
from support.slow_clients import SECRET, web_process

from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.local.servers import HOST
from pipeline.web.server import IDLE_TIMEOUT_S, MAX_CONNECTIONS

SILENT, HALF_HEADS, SLOW_BODIES, ENDLESS_BODIES = 300, 100, 60, 60
HALF_HEAD = b"POST /healthz HTTP/1.1\r\nHost: here\r\nX-Sl"
SLOW_BODY = b"POST /api/v1/batches HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\nversion: 1\n"
ENDLESS_BODY = b"POST /events/s3 HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
MAX_GROWTH_MB = 150


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def send_chunks(connections: list[socket.socket], stop: threading.Event) -> None:
    while not stop.is_set():
        for connection in connections:
            # The server closes a connection whose body is too long.
            with suppress(OSError):
                connection.send(CHUNK)
        time.sleep(0.05)


@pytest.mark.parametrize("path", ["/healthz", CallbackSigner(SECRET).url("", RunId("none", "i0", 1))])
def test_slow_clients_delay_no_request_and_take_little_memory(redis_url: str, tmp_path: Path, path: str) -> None:
    stop = threading.Event()
    with web_process(redis_url, tmp_path / "log") as (address, pid), ExitStack() as stack:
        pool = urllib3.PoolManager(retries=False, timeout=60)
        method = "GET" if path == "/healthz" else "POST"
        assert pool.request(method, f"http://{address}{path}").status == 200
        before = peak_mb(pid)
        host, port = address.split(":")

        def open_connections(count: int, data: bytes) -> list[socket.socket]:
            found = []
            for _ in range(count):
                connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
                connection.sendall(data)
                found.append(connection)
            return found

        open_connections(SILENT, b"")
        open_connections(HALF_HEADS, HALF_HEAD)
        open_connections(SLOW_BODIES, SLOW_BODY)
        endless = open_connections(ENDLESS_BODIES, ENDLESS_BODY)
        sender = threading.Thread(target=send_chunks, args=(endless, stop))
        sender.start()
        try:
            for _ in range(5):
                assert pool.request(method, f"http://{address}{path}", timeout=10).status == 200
        finally:
            stop.set()
            sender.join()
        assert peak_mb(pid) - before < MAX_GROWTH_MB


def open_sockets(pid: int) -> int:
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            targets.append(str(link.readlink()))
    return sum(target.startswith("socket:") for target in targets)


@pytest.mark.parametrize(
    "data", [b"", HALF_HEAD, SLOW_BODY, ENDLESS_BODY + CHUNK], ids=["silent", "head", "body", "chunks"]
)
def test_a_connection_without_traffic_is_closed_after_a_deadline(redis_url: str, tmp_path: Path, data: bytes) -> None:
    with web_process(redis_url, tmp_path / "log") as (address, _):
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=IDLE_TIMEOUT_S + 100) as connection:
            connection.sendall(data)
            began = time.monotonic()
            # A refusal of the body may come first.
            while connection.recv(65_536):
                pass
            assert time.monotonic() - began > (0 if data else IDLE_TIMEOUT_S - 5)


def test_the_number_of_connections_is_bounded(redis_url: str, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        with web_process(redis_url, tmp_path / "log") as (address, pid), ExitStack() as stack:
            host, port = address.split(":")
            most = 0
            for _ in range(MAX_CONNECTIONS + 200):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
            ends = time.monotonic() + 3
            while time.monotonic() < ends:
                most = max(most, open_sockets(pid))
                time.sleep(0.1)
            assert most < MAX_CONNECTIONS + 50
            stack.close()
            pool = urllib3.PoolManager(retries=False, timeout=60)
            assert pool.request("GET", f"http://{address}/healthz").status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def accepted(server: socket.socket) -> int:
    """Return how many clients have connected since the last time."""
    server.setblocking(False)
    connections = []
    with suppress(BlockingIOError):
        while True:
            connections.append(server.accept()[0])
    for connection in connections:
        connection.close()
    return len(connections)


def test_one_check_of_readiness_runs_at_a_time_while_s3_hangs(redis_url: str, tmp_path: Path) -> None:
    with socket.create_server((HOST, 0), backlog=100) as hanging:
        settings = {
            "AWS_ENDPOINT_URL_S3": f"http://{HOST}:{hanging.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PIPELINE_OUTPUT": "s3://bucket/prefix/",
        }
        with web_process(redis_url, tmp_path / "log", **settings) as (address, _):
            pool = urllib3.PoolManager(retries=False, timeout=60, maxsize=60)
            assert pool.request("GET", f"http://{address}/healthz").status == 200
            with ThreadPoolExecutor(50) as executor:
                ready = list(executor.map(lambda _: pool.request("GET", f"http://{address}/readyz"), range(50)))
            assert {response.status for response in ready} == {503}
            # A check waits 2 s and no other one runs meanwhile: if each request had its own, there would be 50.
            assert 0 < accepted(hanging) < 25
