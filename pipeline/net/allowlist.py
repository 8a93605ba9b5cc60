"""The allow-list of hosts that the service may send requests to. Pure.

An entry is a host (`cdn.example.com`), a pattern (`*.wiro.ai`: every subdomain, not the domain itself) or
`host:port`. An exact entry also allows plain http. An entry that is an IP address, is `localhost` or has a port also
allows private addresses. All other entries allow public addresses only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Permission:
    """An allowed host. `private`: its IP address may be a private one."""

    host: str
    private: bool


class AllowList:
    """The hosts that requests may be sent to. `entries`: see the module."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = [entry.strip().lower() for entry in entries if entry.strip()]

    def check(self, url: str) -> Permission | str:
        """Return the permission to request `url`, or the reason for the refusal as text."""
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme, (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            return "the URL is not valid"
        if scheme not in _DEFAULT_PORTS or not host or parts.username is not None:
            return "only https:// URLs without a user name are allowed"
        port = port or _DEFAULT_PORTS[scheme]
        entry = next((entry for entry in self._entries if _matches(entry, host, port)), None)
        if entry is None:
            return f"{host}:{port} is not in PIPELINE_FETCH_HOSTS"
        if scheme == "http" and entry.startswith("*."):
            return f"{host} is allowed over https only, because PIPELINE_FETCH_HOSTS has it as a pattern"
        return Permission(host, private=_may_be_private(entry, host))


def is_public(address: str) -> bool:
    """Return whether an IP address is public unicast. For IPv4 embedded in IPv6, the IPv4 address decides."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or _nat64(ip)
        if embedded is not None:
            return is_public(str(embedded))
        if ip.teredo is not None:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _nat64(ip: IPv6Address) -> IPv4Address | None:
    # RFC 6052: an address with the well-known prefix 64:ff9b::/96 ends in an IPv4 address.
    return IPv4Address(int(ip) & 0xFFFFFFFF) if int(ip) >> 32 == 0x64FF9B << 64 else None


def _matches(entry: str, host: str, port: int) -> bool:
    name, named_port = _entry_parts(entry)
    if named_port is not None and named_port != port:
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name) - 1
    return host == name


def _may_be_private(entry: str, host: str) -> bool:
    name, port = _entry_parts(entry)
    return not name.startswith("*.") and (port is not None or name == "localhost" or _is_address(host))


def _entry_parts(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, int(rest[1:]) if rest[1:].isdigit() else None
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and ":" not in name:
        return name, int(port)
    return entry, None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
