"""A proxy in front of a server that fails a share of the connections. S3 servers have no option for that."""

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
"""Bytes that pass before the connection is cut."""


class FaultyProxy:
    """Passes bytes between clients and `target`. A `share` of new connections gets one of `faults`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.share = 0.0
        self.faults: tuple[str, ...] = ("503", "cut")
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._rng = random.Random(7)
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """Its address."""
        return "http://{}:{}".format(*self._listener.getsockname())

    def fail(self, share: float, *faults: str) -> None:
        """Fail a `share` of new connections with one of `faults`: 503, 500, denied, cut, cut late."""
        self.faults = faults or self.faults
        self.share = share
        for client in list(self._open):
            # Open connections would stay without a fault.
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _handle(self, client: socket.socket) -> None:
        fault = self._rng.choice(self.faults) if self._rng.random() < self.share else ""
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
    """Pass bytes until the end of `source`. Return False if more than `limit` bytes came."""
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
    """Run a proxy in front of `target`, without faults at first, until the end of the block."""
    proxy = FaultyProxy(target)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
