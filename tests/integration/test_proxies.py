"""The proxy examples of docs/deploy.md, with Debian's nginx and HAProxy before a real web process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from select import select

import pytest
import urllib3
from support.processes import ROOT, until
from support.proxies import MISSING, environment, program
from support.slow_clients import SECRET, web_process
from support.waiting import WaitFor
from urllib3.exceptions import HTTPError

from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.local.servers import HOST, free_ports

PROXY = ROOT / "config" / "proxy"
CALLBACK = CallbackSigner(SECRET).url("", RunId("none", "i0", 1))
LIMIT = {"haproxy": 40, "nginx": 20}
"""Connections, or requests at a time, of an address."""
DEADLINE_S = 10
HEAD = b"POST /events/s3 HTTP/1.1\r\nHost: dailies.example.com\r\n"


def haproxy(folder: Path, port: int, web: str) -> list[str]:
    """Write the example without TLS, for this port and web process. Return the command."""
    text = (PROXY / "haproxy.cfg").read_text()
    text = re.sub(r"bind :80\n *bind :443 .*", f"bind {HOST}:{port}", text)
    text = re.sub(r"http-request redirect .*", "", text)
    config = folder / "haproxy.cfg"
    config.write_text(text.replace("127.0.0.1:8000", web))
    return ["haproxy", "-db", "-f", str(config)]


def nginx(folder: Path, port: int, web: str) -> list[str]:
    """Write the example without TLS, for this port and web process. Return the command."""
    text = (PROXY / "nginx.conf").read_text()
    text = re.sub(r"ssl_certificate.*\n", "", text).replace("listen 443 ssl http2", f"listen {HOST}:{port}")
    (folder / "dailies.conf").write_text(text.replace("127.0.0.1:8000", web))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{ worker_connections 2000; }}\n"
        f"http {{ access_log off; {paths} include {folder}/dailies.conf; }}\n"
    )
    # nginx as root runs its workers as another user, who must reach the folder.
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    return ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config), *user]


PROXIES = {"haproxy": haproxy, "nginx": nginx}


@contextmanager
def running(name: str, folder: Path, port: int, web: str) -> Iterator[None]:
    command = PROXIES[name](folder, port, web)
    path = program(name)
    if path is None:
        pytest.skip(MISSING)
    process = subprocess.Popen([path, *command[1:]], env=environment())
    try:
        until(lambda: process.poll() is not None or is_open(port), f"{name} to listen", 60)
        assert process.poll() is None, f"{name} exited"
        yield
    finally:
        process.terminate()
        process.wait(30)


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The name of a proxy and its port."""
    (port,) = free_ports(tmp_path, 1)
    with web_process(redis_url, tmp_path / "log") as (web, _), running(request.param, tmp_path, port, web):
        yield request.param, port


def callback_status(port: int, path: str = CALLBACK) -> int:
    url = f"http://{HOST}:{port}{path}"
    body = b'{"detail": "' + b"x" * 100_000 + b'"}'
    return urllib3.PoolManager(retries=False, timeout=30).request("POST", url, body=body).status


def connect(stack: ExitStack, port: int, data: bytes) -> socket.socket:
    connection = stack.enter_context(socket.create_connection((HOST, port), timeout=60))
    connection.sendall(data)
    return connection


def drip(connection: socket.socket, seconds: float) -> bytes:
    """Send a byte every half second until the server responds or closes. Return the response."""
    ends = time.monotonic() + seconds
    connection.settimeout(0.5)
    while time.monotonic() < ends:
        with suppress(OSError):
            connection.send(b"x")
        try:
            return connection.recv(4096)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""
    pytest.fail(f"the connection was open for {seconds} s")


def test_callbacks_pass_and_other_paths_are_not_public(proxy: tuple[str, int]) -> None:
    _, port = proxy
    pool = urllib3.PoolManager(retries=False, timeout=30)
    assert callback_status(port) == 200
    assert pool.request("GET", f"http://{HOST}:{port}/healthz").status == 200
    # As the web process takes them: a public URL may end in a slash, and senders add others.
    for path in (f"{CALLBACK}/", f"/{CALLBACK}", CALLBACK.replace("/wiro/", "//wiro//")):
        assert callback_status(port, path) == 200, path
    for path in ("/healthz/", "//healthz"):
        assert pool.request("GET", f"http://{HOST}:{port}{path}").status == 200, path
    for path in ("/events/s3", "/events/s3/", "//events//s3"):
        assert pool.request("POST", f"http://{HOST}:{port}{path}", body=b"{}").status != 404, path
    for path in (
        "/",
        "/metrics",
        "/api/v1/batches",
        "/readyz",
        "/events/s3x",
        "/healthz/x",
        "//metrics",
        "/callbacksx",
    ):
        assert pool.request("GET", f"http://{HOST}:{port}{path}").status == 404
    too_large = {"Content-Length": str(30 * 1024 * 1024)}
    # HAProxy refuses it when the first 128 KiB are there. They never come.
    assert pool.request("POST", f"http://{HOST}:{port}/events/s3", headers=too_large, body=b"").status in {408, 413}


def test_slow_heads_are_cut_by_a_deadline(proxy: tuple[str, int]) -> None:
    _, port = proxy
    with ExitStack() as stack:
        response = drip(connect(stack, port, HEAD + b"X-Slow: "), 6 * DEADLINE_S)
        assert response == b"" or b" 408 " in response


# nginx has no deadline for a whole body: docs/deploy.md.
@pytest.mark.parametrize("proxy", ["haproxy"], indirect=True)
def test_slow_bodies_are_cut_by_a_deadline(proxy: tuple[str, int]) -> None:
    _, port = proxy
    with ExitStack() as stack:
        began = time.monotonic()
        response = drip(connect(stack, port, HEAD + b"Content-Length: 100000\r\n\r\n"), 6 * DEADLINE_S)
        assert b" 408 " in response
        assert time.monotonic() - began > DEADLINE_S - 1


def first_refusal(stack: ExitStack, port: int, number: int) -> bytes:
    """Begin `number` requests at a time. Return the response to the first one that is refused, b"" if it is reset.

    The proxy has several threads: it need not be the last one.
    """
    connections: list[socket.socket] = []
    with suppress(ConnectionError):
        for _ in range(number):
            connections.append(connect(stack, port, HEAD + b"Content-Length: 1000\r\n\r\n"))
        return select(connections, [], [], 60)[0][0].recv(4096)
    return b""


def test_an_address_has_a_limited_number_of_requests_at_a_time(proxy: tuple[str, int], wait_for: WaitFor) -> None:
    name, port = proxy
    with ExitStack() as stack:
        response = first_refusal(stack, port, LIMIT[name] + 1)
        assert b" 429 " in response if name == "nginx" else response == b""

    def is_served() -> bool:
        with suppress(HTTPError):
            return callback_status(port) == 200
        return False

    wait_for(is_served, "the address to be served again", 60)
