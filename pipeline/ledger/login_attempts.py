"""Login attempts per network address: at most MAX_ATTEMPTS in WINDOW_S seconds."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

from pipeline.ledger.keys import login_attempts_key
from pipeline.ledger.scripts import ScriptRunner

MAX_ATTEMPTS = 10
WINDOW_S = 60
_IPV6_PREFIX_BITS = 64
"""One household usually has a /64 network: all its addresses count as one."""


class LoginAttempts:
    """Counts login attempts before the token is checked, so that parallel attempts gain nothing. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def record(self, address: str) -> int:
        """Count an attempt from `address`. Returns the seconds to wait before it is allowed; 0: it is allowed now."""
        key = login_attempts_key(_network(address))
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(key, 0, ex=WINDOW_S, nx=True)
            pipe.incr(key)
            pipe.ttl(key)
            _, attempts, left_s = pipe.execute()
        return max(1, left_s) if attempts > MAX_ATTEMPTS else 0

    def clear(self, address: str) -> None:
        """Reset the count of `address` after a successful login."""
        self._redis.delete(login_attempts_key(_network(address)))


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return "-"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Network((parsed, _IPV6_PREFIX_BITS), strict=False))
    return str(parsed)
