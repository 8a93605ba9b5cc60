"""Clients that send slowly, or never complete a request, take no request thread and little memory."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import urllib3
from support.slow_clients import SECRET, web_process

from pipeline.domain.callback_tokens import CallbackSigner, RunId

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
