"""HTTP requests whose IP address is checked before the connection opens.

The name is resolved once, and the connection opens to the checked address: DNS rebinding cannot replace it.
TLS still verifies the certificate against the name.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.util import Url, parse_url

from pipeline.net.allowlist import is_public
from pipeline.user_agent import USER_AGENT

TIMEOUT = urllib3.Timeout(connect=10, read=30)
"""Seconds for each address to accept the connection, and between two pieces of the response."""
_MAX_POOLS = 64
_MAX_IDLE_CONNECTIONS = 64


class HostUnknown(HTTPError):
    """The host name has no address in DNS."""


class AddressRefused(HTTPError):
    """The host has no address that may be connected to."""


class GuardedHttp:
    """Sends requests to public addresses only, with `private` to any address. Thread-safe; connections are reused."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        # One TLS context for all connections: creating one reads every root certificate.
        self._pools = urllib3.PoolManager(
            _MAX_POOLS, maxsize=_MAX_IDLE_CONNECTIONS, retries=False, ssl_context=ssl.create_default_context()
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: urllib3.Timeout = TIMEOUT,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request; follow no redirect and repeat nothing. The caller reads and releases the response.

        Raises AddressRefused, and urllib3's HTTPError if the host does not respond.
        """
        target = parse_url(url)
        error: HTTPError = AddressRefused(f"{target.host} has no public address.")
        for address in self._addresses(target):
            try:
                return self._pool(target, address).urlopen(
                    method,
                    target.request_uri,
                    body=body,
                    headers={"Host": target.netloc or "", "User-Agent": USER_AGENT, **headers},
                    timeout=timeout,
                    redirect=False,
                    preload_content=False,
                )
            except (NewConnectionError, ConnectTimeoutError) as failure:
                error = failure
        raise error

    def _addresses(self, target: Url) -> list[str]:
        host = (target.host or "").strip("[]")
        try:
            resolved = socket.getaddrinfo(host, _port(target), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise HostUnknown(f"{host} has no address.") from None
        addresses = [str(entry[4][0]) for entry in resolved]
        return [address for address in addresses if self._private or is_public(address)]

    def _pool(self, target: Url, address: str) -> urllib3.HTTPConnectionPool:
        tls: dict[str, Any] = {"server_hostname": (target.host or "").strip("[]")} if target.scheme == "https" else {}
        return self._pools.connection_from_host(address, _port(target), target.scheme, pool_kwargs=tls)


def _port(target: Url) -> int:
    return target.port or (443 if target.scheme == "https" else 80)
