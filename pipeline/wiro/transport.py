"""HTTP requests to the vendor: one pool of connections, bounded responses, no automatic retries.

A request that was not sent may be sent again. A request whose response is lost may have been paid for, so the two
raise different exceptions.
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

from pipeline.domain.connection_faults import Peer, reason_of
from pipeline.errors import StorageError
from pipeline.user_agent import USER_AGENT
from pipeline.wiro.errors import NoResponse, NotSent

PEER = Peer("WIRO_API_URL", "Set SSL_CERT_FILE to a file with the certificate of its authority.")
CONNECT_S = 10.0
MAX_IDLE_S = 1.0
"""Maximum idle time of a connection that is reused. If the vendor closes a connection while a Run is written, the
response counts as lost and the Run must not be repeated. Servers close idle connections after two seconds or later."""
MAX_RESPONSE_BYTES = 16 * 2**20
_MAX_CONNECTIONS = 64
_READ_BYTES = 64 * 1024


@dataclass(frozen=True)
class Response:
    """A complete response with any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """The vendor's API at one base URL. Thread-safe."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._path = parts.path.rstrip("/")
        self._host = parts.hostname or base_url
        if parts.scheme == "https":
            # One TLS context for all connections: creating one reads every root certificate.
            self._pool: urllib3.HTTPConnectionPool = _TLSPool(
                self._host, parts.port, maxsize=_MAX_CONNECTIONS, ssl_context=ssl.create_default_context()
            )
        else:
            self._pool = _Pool(self._host, parts.port, maxsize=_MAX_CONNECTIONS)

    def post(self, path: str, body: bytes | Iterable[bytes], headers: Mapping[str, str], *, read_s: float) -> Response:
        """POST and return the response. If `body` is an iterator, `headers` must have a Content-Length.

        `read_s`: seconds until the response starts, and again until it is complete.
        Raises NotSent if nothing was sent, NoResponse if the vendor may have received the request, and what `body`
        raises: the request is then incomplete. Any other exception means that nothing was sent.
        """
        _request.sent = False
        try:
            response = self._pool.urlopen(
                "POST",
                self._path + path,
                body=body,
                headers={"User-Agent": USER_AGENT, **headers},
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=True,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=read_s),
            )
        except HTTPError as error:
            reason = f"{self._host} does not answer: {reason_of(error)}."
            raise (NoResponse(reason) if _request.sent else NotSent(reason)) from None
        except StorageError:
            raise
        except Exception as error:
            if not _request.sent:
                raise
            raise NoResponse(f"The request to {self._host} broke off: {type(error).__name__}.") from error
        return Response(response.status, response.headers, self._read(response, read_s))

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    def _read(self, response: urllib3.BaseHTTPResponse, read_s: float) -> bytes:
        deadline = time.monotonic() + read_s
        body = bytearray()
        try:
            while piece := response.read1(_READ_BYTES):
                body += piece
                if len(body) > MAX_RESPONSE_BYTES:
                    raise NoResponse(f"{self._host} sends more than {MAX_RESPONSE_BYTES:,} bytes.")
                if time.monotonic() > deadline:
                    raise NoResponse(f"{self._host} sends its response too slowly.")
        except NoResponse:
            response.close()
            raise
        except Exception as error:
            response.close()
            raise NoResponse(f"The response of {self._host} broke off: {type(error).__name__}.") from None
        response.release_conn()
        return bytes(body)


class _RequestState(threading.local):
    """Whether a byte of this thread's current request was written to a socket."""

    sent = False


_request = _RequestState()


class _Connection(HTTPConnection):
    """A connection that records when it is written to, and that is not reused after MAX_IDLE_S.

    urllib3's exceptions do not show whether a byte was sent. `ConnectionCls` is urllib3's documented hook, and the
    methods overridden here are public in http.client and urllib3.
    """

    _last_response = 0.0

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self._last_response < MAX_IDLE_S and super().is_connected

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _request.sent = True
        super().send(data)

    def getresponse(self) -> Any:
        response = super().getresponse()
        self._last_response = time.monotonic()
        return response


class _TLSConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
