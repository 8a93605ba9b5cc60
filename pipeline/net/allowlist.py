"""The allow-list of hosts that the service may send requests to. Pure.

An entry is a host (`cdn.example.com`), a pattern (`*.wiro.ai`: every subdomain, not the domain itself) or
`host:port`. A pattern without a port allows the ports 443 and 80, `host:port` exactly that port. An exact entry also
allows plain http. An entry that is an IP address, is `localhost` or has a port also allows private addresses. All other
entries allow public addresses only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pipeline.domain.web_address import DEFAULT_PORTS, InvalidAddress, parse

_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocol assignments; some clouds have their metadata server there
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # Azure's own services, for each virtual machine
        "2001::/23",  # IETF protocol assignments: Teredo and others
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
"""Networks that Python 3.11 takes for public, or takes apart: IANA's registries of special-purpose addresses."""
_UNICAST = ip_network("2000::/3")
"""All IPv6 addresses that IANA has given to the Internet. Site-local and IPv4-compatible ones are outside."""


@dataclass(frozen=True)
class Permission:
    """An allowed host. `private`: its IP address may be a private one."""

    host: str
    private: bool


class AllowList:
    """The hosts that requests may be sent to. `entries`: see the module. `setting`: its name in messages."""

    def __init__(self, entries: Iterable[str], *, setting: str = "PIPELINE_FETCH_HOSTS") -> None:
        self._setting = setting
        self._entries = [entry.strip().lower() for entry in entries if entry.strip()]

    def check(self, url: str) -> Permission | str:
        """Return the permission to request `url`, or the reason for the refusal as text."""
        try:
            address = parse(url)
        except InvalidAddress as error:
            return f"its URL {error}"
        host, port = address.host, address.port
        entry = next((entry for entry in self._entries if _matches(entry, host, port)), None)
        if entry is None:
            return f"{host}:{port} is not in {self._setting}"
        if address.scheme == "http" and entry.startswith("*."):
            return f"{host} is allowed over https only, because {self._setting} has it as a pattern"
        return Permission(host, private=_may_be_private(entry, host))


def is_public(address: str) -> bool:
    """Return whether an IP address is public unicast. For IPv4 embedded in IPv6, the IPv4 address decides."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or _nat64(ip)
        if embedded is not None:
            return is_public(str(embedded))
        if ip not in _UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in net for net in _NOT_PUBLIC)


def _nat64(ip: IPv6Address) -> IPv4Address | None:
    # RFC 6052: an address with the well-known prefix 64:ff9b::/96 ends in an IPv4 address.
    return IPv4Address(int(ip) & 0xFFFFFFFF) if int(ip) >> 32 == 0x64FF9B << 64 else None


def _matches(entry: str, host: str, port: int) -> bool:
    name, named_port = _entry_parts(entry)
    is_pattern = name.startswith("*.")
    if named_port != port and (named_port is not None or (is_pattern and port not in DEFAULT_PORTS.values())):
        return False
    return host.endswith(name[1:]) and len(host) > len(name) - 1 if is_pattern else host == name


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
