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
from urllib3.util import parse_url

from pipeline.domain.web_address import InvalidAddress, WebAddress, parse
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
        host: str | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request; follow no redirect and repeat nothing. The caller reads and releases the response.

        `host`: the host that the caller has checked, if it has. The connection opens to no other one.
        Raises AddressRefused, and urllib3's HTTPError if the host does not respond.
        """
        target, request_uri = _target(url, host)
        error: HTTPError = AddressRefused(f"{target.host} has no public address.")
        for address in self._addresses(target):
            try:
                return self._pool(target, address).urlopen(
                    method,
                    request_uri,
                    body=body,
                    headers={"Host": target.netloc, "User-Agent": USER_AGENT, **headers},
                    timeout=timeout,
                    redirect=False,
                    preload_content=False,
                )
            except (NewConnectionError, ConnectTimeoutError) as failure:
                error = failure
        raise error

    def _addresses(self, target: WebAddress) -> list[str]:
        try:
            resolved = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise HostUnknown(f"{target.host} has no address.") from None
        addresses = [str(entry[4][0]) for entry in resolved]
        return [address for address in addresses if self._private or is_public(address)]

    def _pool(self, target: WebAddress, address: str) -> urllib3.HTTPConnectionPool:
        tls: dict[str, Any] = {"server_hostname": target.host} if target.scheme == "https" else {}
        return self._pools.connection_from_host(address, target.port, target.scheme, pool_kwargs=tls)


def _target(url: str, host: str | None) -> tuple[WebAddress, str]:
    """Return the address that `url` is, and the path and query to send. Raises AddressRefused."""
    try:
        target = parse(url)
        read_by_urllib3 = parse_url(str(target))
    except (InvalidAddress, HTTPError) as error:
        raise AddressRefused(f"The URL {error}.") from None
    if read_by_urllib3.netloc != target.netloc or host not in (None, target.host):
        raise AddressRefused(f"{target.host} is not the host that was checked.")
    return target, read_by_urllib3.request_uri
