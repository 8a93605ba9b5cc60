"""The client's address behind trusted proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any

import pytest

from pipeline.web.security.trusted_proxies import TrustedProxies

PROXIES = [ip_network("10.0.0.0/8"), ip_network("2001:db8:f::/48")]


def seen(peer: str, **headers: str) -> tuple[str, str]:
    """Return the address and the scheme that the app gets."""
    found: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found.update(environ)
        return []

    TrustedProxies(app, PROXIES)({"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", **headers}, lambda *_: None)
    return found["REMOTE_ADDR"], found["wsgi.url_scheme"]


@pytest.mark.parametrize(
    ("forwarded_for", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("127.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.9, 203.0.113.7, 10.2.2.2,10.3.3.3", "203.0.113.7"),
        ("10.2.2.2, 10.3.3.3", "10.2.2.2"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("2001:db8::7, 2001:db8:f::1", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, unknown", "10.1.1.1"),
        ("203.0.113.7, unknown, 10.2.2.2", "10.2.2.2"),
        ("", "10.1.1.1"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_trusted_proxy(forwarded_for: str, address: str) -> None:
    assert seen("10.1.1.1", HTTP_X_FORWARDED_FOR=forwarded_for)[0] == address
    assert seen("::ffff:10.1.1.1", HTTP_X_FORWARDED_FOR=forwarded_for)[0] == address


@pytest.mark.parametrize("peer", ["203.0.113.1", "127.0.0.1", "2001:db8::1", "", "a-socket"])
def test_headers_of_other_peers_are_ignored(peer: str) -> None:
    assert seen(peer, HTTP_X_FORWARDED_FOR="203.0.113.7", HTTP_X_FORWARDED_PROTO="https") == (peer, "http")


def test_the_scheme_is_that_of_the_nearest_proxy() -> None:
    assert seen("10.1.1.1", HTTP_X_FORWARDED_PROTO="https")[1] == "https"
    assert seen("10.1.1.1", HTTP_X_FORWARDED_PROTO="https, http")[1] == "http"
