"""A Run that was certainly not accepted may be posted again. Any other failure is a lost response."""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from support.processes import until
from websockets.sync.server import ServerConnection, serve

from pipeline.errors import StorageError
from pipeline.sandbox.process_handle import Sandbox
from pipeline.user_agent import USER_AGENT
from pipeline.wiro.client import FileSource, ImageField, Run, RunImage, Wiro
from pipeline.wiro.errors import (
    NoResponse,
    NoSuchEndpoint,
    NotFound,
    NotSent,
    RateLimited,
    ResponseLost,
    VendorFault,
    WiroError,
)

Respond = Callable[[socket.socket], None]
MODEL = "acme/animate"


class Vendor:
    """A server that reads each complete request and calls `respond` with its connection."""

    def __init__(self, respond: Respond) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._respond = respond
        self._connection = socket.socket()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._connection = connection
            with connection, suppress(OSError):
                connection.settimeout(5)
                while request := _request(connection):
                    self.requests.append(request)
                    self._respond(connection)


def _request(connection: socket.socket) -> bytes:
    data = b""
    try:
        while b"\r\n\r\n" not in data and (piece := connection.recv(65536)):
            data += piece
            if not data.startswith(b"POST "[: len(data)]):
                return data
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while lengths and len(body) < int(lengths[0]) and (piece := connection.recv(65536)):
            body += piece
    except OSError:
        return b""
    return head + b"\r\n\r\n" + body if head else b""


@contextmanager
def a_vendor(respond: Respond) -> Iterator[Vendor]:
    vendor = Vendor(respond)
    try:
        yield vendor
    finally:
        vendor.close()


def responding(status: str, body: bytes, *headers: str) -> Respond:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode()
    return lambda connection: connection.sendall(head + body)


def accept_run(connection: socket.socket) -> None:
    responding("200 OK", json.dumps({"taskid": "2221", "socketaccesstoken": "tok", "result": True}).encode())(
        connection
    )


def cut(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def cut_in_the_body(connection: socket.socket) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"taskid": "22')
    cut(connection)


def cut_in_the_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
    cut(connection)


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def trickling(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    never = threading.Event()
    while not never.wait(0.02):
        connection.sendall(b" ")


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        connection.sendall(b" " * 1_000_000)


def run_at(url: str, **options: object) -> Run:
    client = Wiro(url, "a-key", "a-secret", run_read_s=0.3, read_s=0.3)
    try:
        return client.run(MODEL, {"prompt": "p"}, **options)  # type: ignore[arg-type]  # any of its options
    finally:
        client.close()


def failure(respond: Respond) -> WiroError:
    with a_vendor(respond) as vendor:
        with pytest.raises(WiroError) as caught:
            run_at(vendor.url)
        # A loaded machine reads it after the client has given up.
        until(lambda: bool(vendor.requests), "the request")
        assert len(vendor.requests) == 1, "nothing is repeated automatically"
    return caught.value


@pytest.mark.parametrize(
    "respond",
    [
        cut,
        reset,
        cut_in_the_body,
        cut_in_the_head,
        silent,
        trickling,
        endless,
        responding("200 OK", b"<html>Just a moment</html>", "Content-Type: text/html"),
        responding("200 OK", b'{"taskid": "22'),
        responding("200 OK", b""),
        responding("200 OK", b"null"),
        responding("200 OK", b'{"result": true, "errors": []}'),
        responding("200 OK", b'{"result": false, "errors": []}'),
        responding("200 OK", b"[" * 100_000),
        responding("502 Bad Gateway", b"<h1>502</h1>"),
        responding("502 Bad Gateway", b'{"message": "bad gateway"}'),
        responding("504 Gateway Timeout", b""),
        responding("504 Gateway Timeout", b'{"result": false, "errors": ["timeout"]}'),
        responding("520 Unknown", b""),
        lambda connection: connection.sendall(b"gibberish\r\n\r\n"),
    ],
)
def test_a_run_that_may_have_been_accepted_is_a_lost_response(respond: Respond) -> None:
    error = failure(respond)
    assert type(error) is ResponseLost
    assert not error.retryable


@pytest.mark.parametrize(
    ("respond", "kind"),
    [
        (responding("500 Oops", b"oops"), VendorFault),
        (responding("503 Busy", b""), VendorFault),
        (responding("502 Bad Gateway", b'{"result": false, "errors": [{"code": 0, "message": "down"}]}'), VendorFault),
        (responding("429 Slow", b"", "Retry-After: 3"), RateLimited),
        (responding("404 Not Found", b"no"), NoSuchEndpoint),
        (responding("307 Moved", b"", "Location: http://127.0.0.1:1/v1/Run"), NoSuchEndpoint),
    ],
)
def test_a_definite_refusal_is_not_a_lost_response(respond: Respond, kind: type[WiroError]) -> None:
    assert type(failure(respond)) is kind


def test_a_run_with_a_task_was_accepted_with_any_status() -> None:
    with a_vendor(responding("500 Oops", b'{"data": {"taskid": 7, "socketaccesstoken": "t"}}')) as vendor:
        assert run_at(vendor.url) == Run("7", "t")


def test_a_refused_connection_means_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotSent):
        run_at(f"http://127.0.0.1:{port}/v1")


def test_an_unknown_host_name_means_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*args: object, **options: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(NotSent):
        run_at("http://api.example/v1")


def test_a_server_without_tls_means_not_sent() -> None:
    with a_vendor(responding("400 Bad", b"no TLS here")) as vendor, pytest.raises(NotSent):
        run_at(vendor.url.replace("http://", "https://"))


def test_an_untrusted_certificate_means_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> ssl.SSLSocket:
        raise ssl.SSLCertVerificationError("self-signed")

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", refuse)
    with a_vendor(accept_run) as vendor, pytest.raises(NotSent):
        run_at(vendor.url.replace("http://", "https://"))


def test_an_unreadable_file_is_not_a_lost_response() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 1_000_000:
                raise StorageError("S3 broke off.", retryable=True)
            return super().read(size)

    file = FileSource("x", "image/png", 2_000_000, lambda: Broken(bytes(2_000_000)))
    with a_vendor(accept_run) as vendor, pytest.raises(StorageError):
        run_at(vendor.url, image=RunImage(ImageField("image", "fileinput"), None, file))


def test_every_request_is_signed_with_its_own_nonce() -> None:
    with a_vendor(accept_run) as vendor:
        client = Wiro(vendor.url, "a-key", "a-secret")
        for _ in range(3):
            client.run(MODEL, {"prompt": "p"})
        client.close()
    nonces = {line for request in vendor.requests for line in request.split(b"\r\n") if line.startswith(b"x-nonce")}
    assert len(nonces) == 3
    assert all(nonce.split(b": ")[1].isdigit() for nonce in nonces)
    assert not any(b"a-secret" in request for request in vendor.requests)


def test_every_request_names_the_program_and_its_version() -> None:
    with a_vendor(accept_run) as vendor:
        client = Wiro(vendor.url, "a-key")
        client.run(MODEL, {"prompt": "p"})
        client.close()
    assert re.search(rb"\r\nUser-Agent: dailies/\d+\.\d+", vendor.requests[0])


def test_the_message_stream_names_the_program_too() -> None:
    agents: list[str | None] = []

    def respond(connection: ServerConnection) -> None:
        agents.append(connection.request.headers.get("User-Agent") if connection.request else None)
        connection.recv(timeout=5)
        connection.send('{"type": "task_cancel"}')

    with serve(respond, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        list(Wiro("http://127.0.0.1:1", "a-key", socket_url=url).progress("tok", silence_s=5))
        server.shutdown()
    assert agents == [USER_AGENT]


@pytest.mark.parametrize("stop", [Wiro.cancel, Wiro.kill])
def test_a_stop_sends_every_form_of_identification(stop: Callable[[Wiro, str, str], None]) -> None:
    with a_vendor(responding("200 OK", b'{"result": true, "errors": []}')) as vendor:
        stop(Wiro(vendor.url, "a-key"), "2221", "tok")
    body = json.loads(vendor.requests[0].partition(b"\r\n\r\n")[2])
    assert body == {"taskid": "2221", "socketaccesstoken": "tok", "tasktoken": "tok"}


def test_tasks_are_listed_newest_first_page_by_page() -> None:
    rows = json.dumps({"result": True, "tasklist": [{"id": "9", "status": "task_start"}, None]}).encode()
    with a_vendor(responding("200 OK", rows)) as vendor:
        tasks = Wiro(vendor.url, "a-key").list_tasks(start=200, limit=50)
    assert [task.id for task in tasks] == ["9", ""]
    head, _, body = vendor.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/Task/List ")
    assert json.loads(body) == {"type": "model", "sort": "id", "order": "DESC", "start": "200", "limit": "50"}


def test_an_account_without_tasks_has_an_empty_listing() -> None:
    message = b'{"result": false, "errors": [{"code": 1, "message": "There is no task yet."}]}'
    with a_vendor(responding("200 OK", message)) as vendor:
        assert Wiro(vendor.url, "a-key").list_tasks() == []


def test_another_refusal_of_the_list_is_not_an_empty_listing() -> None:
    message = b'{"result": false, "errors": [{"code": 1, "message": "Not found."}]}'
    with a_vendor(responding("200 OK", message)) as vendor, pytest.raises(NotFound):
        Wiro(vendor.url, "a-key").list_tasks()


def test_without_a_secret_only_the_key_is_sent() -> None:
    with a_vendor(accept_run) as vendor:
        Wiro(vendor.url, "a-key").run(MODEL, {"prompt": "p"})
    assert b"x-api-key: a-key" in vendor.requests[0]
    assert b"x-nonce" not in vendor.requests[0] and b"x-signature" not in vendor.requests[0]


def test_recent_connections_are_reused() -> None:
    with a_vendor(accept_run) as vendor:
        client = Wiro(vendor.url, "a-key")
        for _ in range(5):
            client.run(MODEL, {"prompt": "p"})
        client.close()
    assert (len(vendor.requests), vendor.connections) == (5, 1)


def test_a_connection_that_was_idle_too_long_is_not_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.wiro.transport.MAX_IDLE_S", 0.0)
    with a_vendor(accept_run) as vendor:
        client = Wiro(vendor.url, "a-key")
        client.run(MODEL, {"prompt": "p"})
        client.run(MODEL, {"prompt": "p"})
        client.close()
    assert vendor.connections == 2


def test_a_repeatable_call_is_retryable_if_its_response_is_lost() -> None:
    with a_vendor(cut) as vendor, pytest.raises(NoResponse) as caught:
        Wiro(vendor.url, "a-key").task(token="t")
    assert caught.value.retryable


def test_a_key_quoted_by_the_vendor_is_masked() -> None:
    message = b'{"result": false, "errors": [{"code": 98, "message": "bad key my-long-key or my-long-secret"}]}'
    with a_vendor(responding("401 No", message)) as vendor, pytest.raises(WiroError) as caught:
        Wiro(vendor.url, "my-long-key", "my-long-secret").model_schema(MODEL)
    assert "my-long" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("fault", ["lose_answers", "bad_gateway", "hang", "not_json"])
def test_a_run_whose_response_is_lost_was_accepted_once(sandbox: Sandbox, fault: str) -> None:
    sandbox.change(**{fault: 1})
    client = Wiro(sandbox.url, sandbox.key, sandbox.secret, run_read_s=0.5)
    with pytest.raises(ResponseLost):
        client.run("acme/some-llm", {"prompt": "p"})
    client.close()
    assert sandbox.stats()["runs"] == 1
