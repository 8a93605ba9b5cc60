"""A proxy that stands before a server and spoils some of its connections: for what an S3 server has no option for."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_REFUSALS = {
    "503": ("503 Slow Down", "SlowDown"),
    "500": ("500 Internal Server Error", "InternalError"),
    "denied": ("403 Forbidden", "AccessDenied"),
}
_PIECE = 64 * 1024
_CUT_AFTER = {"cut": 200, "cut late": 2_000_000}
"""Bytes of a connection that come through before it is cut."""


class FaultyProxy:
    """Passes bytes between clients and `target`. `share` of new connections meet one of `faults`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.share = 0.0
        self.faults: tuple[str, ...] = ("503", "cut")
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._dice = random.Random(7)
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return "http://{}:{}".format(*self._listener.getsockname())

    def fail(self, share: float, *faults: str) -> None:
        """From now on `share` of all connections meet one of `faults`: 503, 500, denied, cut, cut late."""
        self.faults = faults or self.faults
        self.share = share
        for client in list(self._open):
            # Those that are open would go on as if nothing were.
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _handle(self, client: socket.socket) -> None:
        fault = self._dice.choice(self.faults) if self._dice.random() < self.share else ""
        with client, suppress(OSError):
            self._open.add(client)
            if fault in _REFUSALS:
                client.recv(_PIECE)
                client.sendall(_refusal(*_REFUSALS[fault]))
            else:
                self._pass_on(client, _CUT_AFTER.get(fault))
        self._open.discard(client)

    def _pass_on(self, client: socket.socket, limit: int | None) -> None:
        with socket.create_connection(self._target, timeout=10) as server:
            server.settimeout(None)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            if _pump(client, server, limit):
                back.join(10)
            else:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _refusal(status: str, code: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>x</Message></Error>"
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n{body}".encode()


def _pump(source: socket.socket, sink: socket.socket, limit: int | None = None) -> bool:
    """Pass on what comes, until its end. False where more than `most` bytes came: it is to be cut."""
    passed = 0
    with suppress(OSError):
        while piece := source.recv(_PIECE if limit is None else min(_PIECE, limit - passed + 1)):
            passed += len(piece)
            if limit is not None and passed > limit:
                return False
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
    return True


@contextmanager
def a_faulty_proxy(target: tuple[str, int]) -> Iterator[FaultyProxy]:
    """A proxy before `target`, without faults at first, until the block ends."""
    proxy = FaultyProxy(target)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
