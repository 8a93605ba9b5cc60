"""A proxy that stands before a server and spoils some of its connections: for what an S3 server has no option for."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: 77\r\n\r\n"
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>x</Message></Error>"
)
_PIECE = 64 * 1024


class FaultyProxy:
    """Passes bytes between clients and `target`. `share` of new connections are answered 503 or cut in the middle."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.share = 0.0
        self.faults = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._dice = random.Random(7)

    @property
    def url(self) -> str:
        """Where it listens."""
        return "http://{}:{}".format(*self._listener.getsockname())

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
        fault = self._dice.choice(["503", "cut"]) if self._dice.random() < self.share else ""
        with client, suppress(OSError):
            if fault == "503":
                self.faults += 1
                client.recv(_PIECE)
                client.sendall(_SLOW_DOWN)
                return
            with socket.create_connection(self._target, timeout=10) as server:
                server.settimeout(None)
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                if fault == "cut":
                    self.faults += 1
                    server.sendall(client.recv(200))
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                _pump(client, server)
                back.join(10)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def a_faulty_proxy(target: tuple[str, int]) -> Iterator[FaultyProxy]:
    """A proxy before `target`, without faults at first, until the block ends."""
    proxy = FaultyProxy(target)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
