"""Downloads from a CDN with every fault that HTTP allows."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.media import a_video

from pipeline.errors import CopyFailed, OutputGone
from pipeline.net.download import Downloader
from pipeline.user_agent import USER_AGENT

BODY = bytes(range(256)) * 400
MAX_BYTES = 10_000_000
Respond = Callable[[socket.socket, str], None]


@contextmanager
def a_cdn(respond: Respond) -> Iterator[int]:
    """Run a server that calls `respond` with each connection and its request; yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                request = b""
                while b"\r\n\r\n" not in request and (piece := connection.recv(4096)):
                    request += piece
                respond(connection, request.decode("latin-1"))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def a_response(status: str = "200 OK", body: bytes = BODY, announced: int | None = None, **headers: str) -> Respond:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if announced is None else announced}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "Connection: close", "", ""]).encode()

    def respond(connection: socket.socket, request: str) -> None:
        connection.sendall(head + body)

    return respond


def fetched(respond: Respond, *, size: int | None = None, max_bytes: int = MAX_BYTES) -> tuple[bytes, str]:
    with a_cdn(respond) as port:
        downloader = Downloader([f"127.0.0.1:{port}"], max_bytes=max_bytes)
        with downloader.open(f"http://127.0.0.1:{port}/0.mp4", size=size) as download:
            body = b""
            while piece := download.read(65536):
                body += piece
        return body, download.sha256


def test_a_download_names_the_program_and_its_version() -> None:
    requests: list[str] = []

    def respond(connection: socket.socket, request: str) -> None:
        requests.append(request)
        a_response(Content_Type="video/mp4")(connection, request)

    fetched(respond)
    assert f"\r\nUser-Agent: {USER_AGENT}\r\n" in requests[0]


def test_a_download_has_all_bytes_and_their_digest() -> None:
    body, digest = fetched(a_response(Content_Type="video/mp4"), size=len(BODY))
    assert body == BODY
    assert digest == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("body", [b"12", BODY])
def test_the_first_bytes_can_be_seen_before_all_are_read(body: bytes) -> None:
    with a_cdn(a_response(body=body, Content_Type="a/b; c=d")) as port:
        downloader = Downloader([f"127.0.0.1:{port}"], max_bytes=MAX_BYTES)
        with downloader.open(f"http://127.0.0.1:{port}/0.mp4") as download:
            assert download.head() == body[:512]
            assert download.sent_type == "a/b; c=d"
            assert download.read(1) == body[:1]
            assert body[:1] + b"".join(iter(lambda: download.read(300), b"")) == body
        assert download.sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "410 Gone"])
def test_an_expired_url_raises_output_gone(status: str) -> None:
    with pytest.raises(OutputGone):
        fetched(a_response(status))


@pytest.mark.parametrize("status", ["429 Slow", "500 Oops", "503 Busy"])
def test_an_overloaded_cdn_is_retryable(status: str) -> None:
    with pytest.raises(CopyFailed) as caught:
        fetched(a_response(status))
    assert caught.value.retryable
    assert not isinstance(caught.value, OutputGone)


def test_a_truncated_download_fails() -> None:
    with pytest.raises(CopyFailed, match=r"broke|of") as caught:
        fetched(a_response(body=BODY[:5000], announced=len(BODY)))
    assert caught.value.retryable


def test_a_truncated_download_without_a_length_fails_by_the_vendors_size() -> None:
    def respond(connection: socket.socket, request: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY[:5000])

    with pytest.raises(CopyFailed, match="5,000 bytes of 102,400"):
        fetched(respond, size=len(BODY))


def test_a_download_larger_than_announced_fails() -> None:
    with pytest.raises(CopyFailed, match="announces 102,400 bytes, the vendor 100"):
        fetched(a_response(), size=100)


def test_an_empty_file_fails() -> None:
    with pytest.raises(CopyFailed, match="empty"):
        fetched(a_response(body=b""))


def test_compressed_bytes_are_not_stored_as_the_output() -> None:
    with pytest.raises(CopyFailed, match="compressed"):
        fetched(a_response(Content_Encoding="gzip"))


@pytest.mark.parametrize("encoding", ["aws-chunked", "AWS-Chunked, identity", "none", "gzip", "br"])
def test_an_encoding_that_the_bytes_do_not_have_loses_no_output(encoding: str) -> None:
    video = a_video()
    assert fetched(a_response(body=video, Content_Encoding=encoding), size=len(video))[0] == video


def test_compressed_pages_are_fetched_again() -> None:
    page = gzip.compress(b"<html>Access denied</html>")
    with pytest.raises(CopyFailed, match="compressed") as caught:
        fetched(a_response(body=page, Content_Encoding="gzip"))
    assert caught.value.retryable


@pytest.mark.parametrize("status", ["202 Accepted", "204 No Content", "206 Partial Content"])
def test_an_answer_without_the_whole_output_is_fetched_again(status: str) -> None:
    with pytest.raises(CopyFailed, match="without the whole output") as caught:
        fetched(a_response(status, Content_Range=f"bytes 0-{len(BODY) - 1}/{2 * len(BODY)}"))
    assert caught.value.retryable


def test_a_range_that_is_the_whole_output_and_the_answer_of_a_proxy_are_complete() -> None:
    whole = f"bytes 0-{len(BODY) - 1}/{len(BODY)}"
    assert fetched(a_response("206 Partial Content", Content_Range=whole))[0] == BODY
    assert fetched(a_response("203 Non-Authoritative Information"))[0] == BODY


@pytest.mark.parametrize("location", ["", "https://login.example.com/", "/0.mp4"])
def test_a_redirect_that_leads_nowhere_is_followed_again_later(location: str) -> None:
    with pytest.raises(CopyFailed, match=r"redirects more|not fetched") as caught:
        fetched(a_response("302 Found", Location=location))
    assert caught.value.retryable


def test_an_output_that_is_too_large_is_not_downloaded() -> None:
    with pytest.raises(CopyFailed, match="max_output_mb") as caught:
        fetched(a_response(), max_bytes=50_000)
    assert not caught.value.retryable


def test_a_host_that_is_not_allowed_gets_no_request() -> None:
    with pytest.raises(CopyFailed, match="PIPELINE_FETCH_HOSTS") as caught:
        Downloader(["*.wiro.ai"], max_bytes=MAX_BYTES).open("https://127.0.0.1/x")
    assert not caught.value.retryable


def test_a_redirect_is_checked_again() -> None:
    with pytest.raises(CopyFailed, match="PIPELINE_FETCH_HOSTS"):
        fetched(a_response("302 Found", b"", Location="http://169.254.169.254/latest/meta-data/"))


def test_an_allowed_redirect_is_followed() -> None:
    def respond(connection: socket.socket, request: str) -> None:
        if request.startswith("GET /moved"):
            a_response()(connection, request)
        else:
            a_response("307 Moved", b"", Location="/moved")(connection, request)

    assert fetched(respond)[0] == BODY


def test_redirects_have_a_maximum() -> None:
    with pytest.raises(CopyFailed, match="redirects more than"):
        fetched(a_response("302 Found", b"", Location="/0.mp4"))


def test_a_name_with_a_private_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name is allowed, but its address is checked before the connection opens."""
    resolved: list[str] = []

    def resolve(host: str, port: int, **options: object) -> list[object]:
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(CopyFailed, match="no public address") as caught:
        Downloader(["*.wiro.ai"], max_bytes=MAX_BYTES).open("https://cdn1.wiro.ai/x")
    assert resolved == ["cdn1.wiro.ai"]
    assert not caught.value.retryable


def test_a_closed_port_is_retryable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CopyFailed, match="does not answer") as caught:
        Downloader([f"127.0.0.1:{port}"], max_bytes=MAX_BYTES).open(f"http://127.0.0.1:{port}/")
    assert caught.value.retryable
