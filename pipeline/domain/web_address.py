"""The one parser of web addresses that others write: outputs, redirects, images, notifications, SNS. Pure.

Parsers disagree about backslashes, user names, control characters, and hosts outside ASCII: one finds the host that is
checked, another one the host that is connected to. Addresses with any of these are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import urljoin

DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = r"[A-Za-z0-9_-]{1,63}"
_ADDRESS = re.compile(
    r"(?P<scheme>(?i:https?))://"
    rf"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>{_LABEL}(?:\.{_LABEL})*)\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>(?:[/?#][^\\\x00-\x1f\x7f-\x9f]*)?)"
)


class InvalidAddress(ValueError):
    """Programs may disagree about the host of an address, or it has none. The message is the end of a sentence."""


@dataclass(frozen=True)
class WebAddress:
    """An `http(s)://` address. `rest` is everything after host and port, as written."""

    scheme: str
    host: str
    """A name in lower case without a dot at its end, or an IP address without brackets."""
    port: int
    rest: str

    @property
    def netloc(self) -> str:
        """Host, and port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def path(self) -> str:
        """The path, without query and fragment."""
        return self.rest.partition("#")[0].partition("?")[0]

    @property
    def query(self) -> str:
        """The query, '' if there is none."""
        return self.rest.partition("#")[0].partition("?")[2]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.rest}"


def parse(url: str) -> WebAddress:
    """Return the parts of an address. Raises InvalidAddress."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        raise InvalidAddress(
            "is not an http:// or https:// address with a host in ASCII, without user name, backslash and control "
            "character"
        )
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise InvalidAddress("has a port that does not exist")
    return WebAddress(scheme, match["host"].lower() if match["host"] else _ipv6(match["ipv6"]), port, match["rest"])


def redirected(url: str, location: str) -> str:
    """Return where a response of `url` redirects to. It is not checked: `parse` refuses what it cannot be."""
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise InvalidAddress("has a host in brackets that is not an IPv6 address") from None
