"""Connections whose address is judged at the moment the socket opens: the very one that is connected to.

No name can change its meaning between the judgement and the connection.
"""

from __future__ import annotations

import socket
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from pipeline.net.allowlist import is_public

CONNECT_S = 10.0
READ_S = 30.0


class AddressRefused(NewConnectionError):
    """An address that may not be connected to."""


def pool(*, private: bool) -> urllib3.PoolManager:
    """Connections to public addresses, with `private` to any. Nothing is tried twice, everything has time limits."""
    connections = urllib3.PoolManager(
        num_pools=32, maxsize=64, timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S), retries=False
    )
    if not private:
        classes: dict[str, Any] = {"http": _PublicHTTPPool, "https": _PublicHTTPSPool}
        connections.pool_classes_by_scheme = classes
    return connections


def _connect(connection: HTTPConnection, *, private: bool) -> socket.socket:
    """A socket to an address that was judged: the very one that is connected to."""
    try:
        found = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NewConnectionError(connection, f"{connection.host} is not known.") from None
    addresses = [entry for entry in found if private or is_public(str(entry[4][0]))]
    if not addresses:
        raise AddressRefused(connection, f"{connection.host} has no public address.")
    problem: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        try:
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(CONNECT_S)
            sock.connect(address)
        except OSError as error:
            sock.close()
            problem = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise NewConnectionError(connection, f"{connection.host} refuses connections: {problem}")


class _PublicHTTP(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self, private=False)


class _PublicHTTPS(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self, private=False)


class _PublicHTTPPool(HTTPConnectionPool):
    ConnectionCls = _PublicHTTP


class _PublicHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPS
