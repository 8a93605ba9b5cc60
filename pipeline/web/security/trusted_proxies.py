"""The address of the client behind the proxies of PIPELINE_TRUSTED_PROXIES."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class TrustedProxies:
    """WSGI middleware: REMOTE_ADDR and the scheme as a trusted proxy reports them.

    The headers of any other client are ignored: it could name any address in them.
    """

    def __init__(self, app: WsgiApp, networks: Sequence[Network]) -> None:
        self._app = app
        self._networks = networks

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        peer = _address(environ.get("REMOTE_ADDR", ""))
        if peer and self._is_trusted(peer):
            environ["REMOTE_ADDR"] = str(self._client(peer, environ.get("HTTP_X_FORWARDED_FOR", "")))
            # The last value is of the proxy that is nearest.
            if environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower() == "https":
                environ["wsgi.url_scheme"] = "https"
        return self._app(environ, start_response)

    def _client(self, peer: Address, forwarded_for: str) -> Address:
        """Return the rightmost address that is not of a trusted proxy. Each proxy appends the address of its peer."""
        client = peer
        for text in reversed(forwarded_for.split(",")):
            address = _address(text)
            if address is None:
                break
            client = address
            if not self._is_trusted(address):
                break
        return client

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """Return the address in `text`, which may have a port: `192.0.2.1:80`, `[2001:db8::1]:80`. None: there is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
