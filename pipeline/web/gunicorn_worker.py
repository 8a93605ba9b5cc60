"""Gunicorn's `gthread` worker, with connections that end without holding up the others."""

from __future__ import annotations

import selectors
import socket
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

_LINGER_S = 2.0
_MAX_CONCURRENT = 65_536


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Waits for the other side to close a connection beside all other work, where gunicorn 27 waits for it alone.

    A connection that is not kept is closed in our direction first, and for good once the caller has closed it, too:
    up to two seconds. Gunicorn's own worker accepts and reads nothing meanwhile.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._parting: dict[Any, float] = {}
        """Connection → when it is let go of, the earliest first."""

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """A request was answered, or its connection has nothing more to say. For gunicorn's main thread."""
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError, KeyError):
            self._let_go(conn)
        else:
            self._parting[conn] = time.monotonic() + _LINGER_S

    def murder_pending(self) -> None:
        """Let go of connections that nothing came from. Called at each turn of gunicorn's main loop."""
        super().murder_pending()
        now = time.monotonic()
        while self._parting:
            conn, until = next(iter(self._parting.items()))
            if until > now:
                break
            self._end(conn)

    def _drain(self, conn: Any, sock: socket.socket) -> None:
        """Read what still comes: closing with bytes unread would cut off the answer."""
        try:
            data = sock.recv(_MAX_CONCURRENT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(conn)

    def _end(self, conn: Any) -> None:
        self.poller.unregister(conn.sock)
        del self._parting[conn]
        self._let_go(conn)

    def _let_go(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()
