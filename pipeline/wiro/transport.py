"""Requests to the vendor: one pool of warm connections a process, everything bounded, nothing repeated by itself.

What matters most is to tell apart a request that never left from one whose answer is lost: the first may be sent
again, the second may have been paid for.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from pipeline.wiro.errors import NoAnswer, NotSent

CONNECT_S = 10.0
MAX_IDLE_S = 1.0
"""A connection idle for longer is not used again. One that the vendor gives up just as we write to it fails as if the
answer were lost, and a Run must then not be repeated; servers wait at least two seconds before they give one up."""
MAX_ANSWER_BYTES = 16 * 2**20
_CONNECTIONS = 64
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """What came back: any status, the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """The vendor's API at one base URL. Thread-safe."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._path = parts.path.rstrip("/")
        self._name = parts.hostname or base_url
        if parts.scheme == "https":
            # One TLS context for all connections: making one reads every root certificate.
            self._pool: urllib3.HTTPConnectionPool = _TLSPool(
                self._name, parts.port, maxsize=_CONNECTIONS, ssl_context=ssl.create_default_context()
            )
        else:
            self._pool = _Pool(self._name, parts.port, maxsize=_CONNECTIONS)

    def post(self, path: str, body: bytes | Iterable[bytes], headers: Mapping[str, str], *, read_s: float) -> Answer:
        """POST and read the answer. `headers` has a Content-Length where the body is no bytes. `read_s`: how long to
        wait for the answer to begin, and then for the rest of it.

        Raises NotSent when nothing of it left, NoAnswer when the vendor may have heard it.
        """
        _wire.used = False
        try:
            response = self._pool.urlopen(
                "POST",
                self._path + path,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=read_s),
            )
        except HTTPError as error:
            why = f"{self._name} does not answer: {type(error).__name__}."
            raise (NoAnswer(why) if _wire.used else NotSent(why)) from None
        return Answer(response.status, response.headers, self._read(response, read_s))

    def close(self) -> None:
        """Give up the idle connections."""
        self._pool.close()

    def _read(self, response: urllib3.BaseHTTPResponse, read_s: float) -> bytes:
        ends = time.monotonic() + read_s
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := response.read1(_PIECE_BYTES):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_ANSWER_BYTES:
                    raise NoAnswer(f"{self._name} answers with more than {MAX_ANSWER_BYTES:,} bytes.")
                if time.monotonic() > ends:
                    raise NoAnswer(f"{self._name} answers too slowly.")
        except HTTPError as error:
            response.close()
            raise NoAnswer(f"The answer of {self._name} broke off: {type(error).__name__}.") from None
        except NoAnswer:
            response.close()
            raise
        response.release_conn()
        return b"".join(pieces)


class _Wire(threading.local):
    """Whether anything of this thread's request has been written to a socket."""

    used = False


_wire = _Wire()


class _Connection(HTTPConnection):
    """A connection that says when it is first written to, and is not used again once it was idle for long."""

    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self._used_at < MAX_IDLE_S and super().is_connected

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _wire.used = True
        super().send(data)

    def getresponse(self) -> Any:
        response = super().getresponse()
        self._used_at = time.monotonic()
        return response


class _TLSConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
