"""URLs of attackers, against a real server to which every host name leads: it gets no connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr
from support.hostile_urls import HOSTILE_URLS
from support.ledger_fixtures import a_row

from pipeline.doctor.output_request import request_output
from pipeline.errors import CopyFailed, NotificationFailed
from pipeline.net import guarded_http
from pipeline.net.download import Downloader
from pipeline.net.guarded_http import AddressRefused, GuardedHttp
from pipeline.net.image_request import ImageRequests, NoImageResponse
from pipeline.notifications.sender import NotificationSender
from pipeline.settings import Settings

HOSTILE = [
    *HOSTILE_URLS,
    "https://cdn1.wiro.ai:8443/x",
    "https://cdn1.wiro.ai:6379/x",
    "http://cdn1.wiro.ai/x",
    "https://wiro.ai.attacker.example/x",
]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Server:
    """A server on which every name and port arrives. `response`: its bytes, without TLS.

    `connections`: the request of each, '' if there is no response.
    """

    port: int = 0
    response: bytes = b""
    connections: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    listener = socket.create_server(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                server.connections.append(connection.recv(4096).decode("latin-1") if server.response else "")
                connection.sendall(server.response)

    own_thread, real = threading.current_thread(), socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        if threading.current_thread() is not own_thread:
            # A thread that another test has left connects to its own server.
            return real(host, port, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(guarded_http, "is_public", lambda address: True)
    yield server
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_a_good_url_reaches_the_server_of_this_test(server: Server) -> None:
    with pytest.raises(CopyFailed):
        Downloader(["*.wiro.ai"], max_bytes=9).open("https://cdn1.wiro.ai/x")
    assert server.connections


@pytest.mark.parametrize("url", HOSTILE)
def test_an_output_with_a_hostile_url_opens_no_connection(server: Server, url: str) -> None:
    with pytest.raises(CopyFailed) as caught:
        Downloader(["*.wiro.ai"], max_bytes=9).open(url)
    assert server.connections == []
    assert not caught.value.retryable


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_an_image_with_a_hostile_url_opens_no_connection(server: Server, url: str) -> None:
    with pytest.raises(NoImageResponse):
        ImageRequests(["*.wiro.ai"]).fetch(url)
    assert server.connections == []


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_a_notification_with_a_hostile_url_opens_no_connection(server: Server, url: str) -> None:
    sender = NotificationSender(Settings(notify_secret=SecretStr(SECRET), notify_hosts=("*.wiro.ai",)))
    with pytest.raises(NotificationFailed) as caught:
        sender.send(url, a_row("b", 1), "s3://bucket/b/results.json")
    assert server.connections == []
    assert not caught.value.retryable


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_the_doctor_opens_no_connection_to_a_hostile_url(server: Server, url: str) -> None:
    assert request_output(url, ["*.wiro.ai"]).error
    assert server.connections == []


@pytest.mark.parametrize("location", [*HOSTILE, "http://[::1", "//attacker.example/x"])
def test_a_redirect_is_checked_as_the_first_url_is(server: Server, location: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: {location}\r\n\r\n"
    server.response = head.encode("latin-1", "replace")
    with pytest.raises(CopyFailed):
        Downloader(["cdn.example.com"], max_bytes=9).open("http://cdn.example.com/x")
    assert all("\r\nHost: cdn.example.com\r\n" in request for request in server.connections)


def test_the_connection_opens_to_no_other_host_than_the_one_that_was_checked(server: Server) -> None:
    with pytest.raises(AddressRefused, match="not the host that was checked"):
        GuardedHttp(private=True).request("GET", "https://attacker.example/", headers={}, host="cdn1.wiro.ai")
    assert server.connections == []
