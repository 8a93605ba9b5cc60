"""Wrong tokens: at most MAX_FAILURES in WINDOW_S seconds from an address, and of the same token from anywhere."""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address, IPv6Network, ip_address

from pipeline.ledger.keys import login_attempts_key
from pipeline.ledger.scripts import ScriptRunner

MAX_FAILURES = 10
WINDOW_S = 60
_IPV6_PREFIX_BITS = 64
"""One household usually has a /64 network: all its addresses count as one."""
_BUCKET_CHARS = 4
"""Addresses and tokens are counted in 65,536 buckets, so that no attacker fills Redis. Who shares a bucket with an
attacker may get 429 for a wrong token; right tokens are not counted."""


class LoginAttempts:
    """Counts wrong tokens, of the login page and of programs. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def record_failure(self, address: str, token: str) -> int:
        """Count a wrong `token` from `address`. Returns the seconds to wait before the next one; 0: none."""
        waits = []
        with self._redis.pipeline(transaction=True) as pipe:
            for key in (_key("address", _network(address)), _key("token", token)):
                pipe.set(key, 0, ex=WINDOW_S, nx=True)
                pipe.incr(key)
                pipe.ttl(key)
            results = pipe.execute()
        for failures, left_s in (results[1:3], results[4:6]):
            waits.append(max(1, left_s) if failures > MAX_FAILURES else 0)
        return max(waits)


def _key(kind: str, value: str) -> str:
    digest = hashlib.sha256(f"{kind} {value}".encode("utf-8", "replace")).hexdigest()
    return login_attempts_key(digest[:_BUCKET_CHARS])


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return "-"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Network((parsed, _IPV6_PREFIX_BITS), strict=False))
    return str(parsed)
