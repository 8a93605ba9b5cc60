"""Downloads from a CDN that misbehaves in every way that HTTP allows."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pipeline.errors import CopyFailed, OutputGone
from pipeline.net.download import Downloader

BODY = bytes(range(256)) * 400
MAX_SHOWN = 10_000_000
Respond = Callable[[socket.socket, str], None]


@contextmanager
def a_cdn(respond: Respond) -> Iterator[int]:
    """A server that hands each connection's request line to `respond`; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
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
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def an_answer(status: str = "200 OK", body: bytes = BODY, announced: int | None = None, **headers: str) -> Respond:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if announced is None else announced}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "Connection: close", "", ""]).encode()

    def respond(connection: socket.socket, request: str) -> None:
        connection.sendall(head + body)

    return respond


def fetched(
    respond: Respond, *, content_type: str = "video/mp4", size: int | None = None, max_bytes: int = MAX_SHOWN
) -> tuple[bytes, str, str]:
    with a_cdn(respond) as port:
        downloader = Downloader([f"127.0.0.1:{port}"], max_bytes=max_bytes)
        with downloader.open(f"http://127.0.0.1:{port}/0.mp4", content_type=content_type, size=size) as download:
            body = b""
            while piece := download.read(65536):
                body += piece
        return body, download.sha256, download.content_type


def test_an_output_comes_whole_with_its_digest() -> None:
    body, digest, content_type = fetched(an_answer(Content_Type="video/mp4"), size=len(BODY))
    assert body == BODY
    assert digest == hashlib.sha256(BODY).hexdigest()
    assert content_type == "video/mp4"


def test_a_cdn_that_does_not_know_the_type_is_believed_to_send_what_was_announced() -> None:
    assert fetched(an_answer(Content_Type="binary/octet-stream"))[2] == "video/mp4"


def test_without_an_announcement_the_cdns_type_is_taken() -> None:
    assert fetched(an_answer(Content_Type="image/png; charset=x"), content_type="")[2] == "image/png"


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "410 Gone"])
def test_an_expired_address_is_told_apart(status: str) -> None:
    with pytest.raises(OutputGone):
        fetched(an_answer(status))


@pytest.mark.parametrize("status", ["429 Slow", "500 Oops", "503 Busy"])
def test_a_busy_cdn_is_asked_again(status: str) -> None:
    with pytest.raises(CopyFailed) as caught:
        fetched(an_answer(status))
    assert caught.value.retryable
    assert not isinstance(caught.value, OutputGone)


def test_a_cut_download_is_noticed() -> None:
    with pytest.raises(CopyFailed, match=r"broke|of") as caught:
        fetched(an_answer(body=BODY[:5000], announced=len(BODY)))
    assert caught.value.retryable


def test_a_download_cut_without_an_announced_length_is_noticed_by_the_vendors_size() -> None:
    def respond(connection: socket.socket, request: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY[:5000])

    with pytest.raises(CopyFailed, match="5,000 bytes of 102,400"):
        fetched(respond, size=len(BODY))


def test_more_than_the_vendor_announced_is_refused() -> None:
    with pytest.raises(CopyFailed, match="announces 102,400 bytes, the vendor 100"):
        fetched(an_answer(), size=100)


def test_an_empty_file_is_no_output() -> None:
    with pytest.raises(CopyFailed, match="empty"):
        fetched(an_answer(body=b""))


def test_an_error_page_is_not_taken_for_a_video() -> None:
    with pytest.raises(CopyFailed, match="text/html"):
        fetched(an_answer(body=b"<h1>sorry</h1>", Content_Type="text/html"))


def test_compressed_bytes_are_not_stored_as_the_output() -> None:
    with pytest.raises(CopyFailed, match="compressed"):
        fetched(an_answer(Content_Encoding="gzip"))


def test_an_output_that_is_too_large_is_not_even_begun() -> None:
    with pytest.raises(CopyFailed, match="max_output_mb") as caught:
        fetched(an_answer(), max_bytes=50_000)
    assert not caught.value.retryable


def test_a_host_that_is_not_allowed_is_not_asked() -> None:
    with pytest.raises(CopyFailed, match="PIPELINE_FETCH_HOSTS") as caught:
        Downloader(["*.wiro.ai"], max_bytes=MAX_SHOWN).open("https://127.0.0.1/x", content_type="", size=None)
    assert not caught.value.retryable


def test_a_redirect_is_judged_again() -> None:
    with pytest.raises(CopyFailed, match="PIPELINE_FETCH_HOSTS"):
        fetched(an_answer("302 Found", b"", Location="http://169.254.169.254/latest/meta-data/"))


def test_a_redirect_to_where_it_may_go_is_followed() -> None:
    def respond(connection: socket.socket, request: str) -> None:
        if request.startswith("GET /moved"):
            an_answer()(connection, request)
        else:
            an_answer("307 Moved", b"", Location="/moved")(connection, request)

    assert fetched(respond)[0] == BODY


def test_redirects_have_an_end() -> None:
    with pytest.raises(CopyFailed, match="redirects more than"):
        fetched(an_answer("302 Found", b"", Location="/0.mp4"))


def test_a_name_that_means_a_private_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name is allowed, the address is judged at the moment the socket opens."""
    asked: list[str] = []

    def resolve(host: str, port: int, **options: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(CopyFailed, match="no public address") as caught:
        Downloader(["*.wiro.ai"], max_bytes=MAX_SHOWN).open("https://cdn1.wiro.ai/x", content_type="", size=None)
    assert asked == ["cdn1.wiro.ai"]
    assert not caught.value.retryable


def test_a_closed_port_is_tried_again_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CopyFailed, match="does not answer") as caught:
        Downloader([f"127.0.0.1:{port}"], max_bytes=MAX_SHOWN).open(
            f"http://127.0.0.1:{port}/", content_type="", size=None
        )
    assert caught.value.retryable
