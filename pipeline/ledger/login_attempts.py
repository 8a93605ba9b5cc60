"""Who knocks at the login page, and how often: a few tries a minute for each address.

door:{address}    text  tries since the first of them; gone a minute after it
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

from pipeline.ledger.keys import PREFIX
from pipeline.ledger.scripts import ScriptRunner

MAX_ATTEMPTS = 10
WINDOW_S = 60


class LoginAttempts:
    """Tries are counted before they are judged, so that many at once get no further than one after the other."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def record(self, address: str) -> int:
        """Somebody at `address` tries to come in. How many seconds they have to wait first: 0 when they may try."""
        key = _address_key(address)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(key, 0, ex=WINDOW_S, nx=True)
            pipe.incr(key)
            pipe.ttl(key)
            _, tries, left_s = pipe.execute()
        return max(1, left_s) if tries > MAX_ATTEMPTS else 0

    def clear(self, address: str) -> None:
        """Somebody at `address` had the key: their tries are forgotten."""
        self._redis.delete(_address_key(address))


def _address_key(address: str) -> str:
    """The key of an address; those of a network that one household has are one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return f"{PREFIX}door:-"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{PREFIX}door:{IPv6Network((parsed, 64), strict=False)}"
    return f"{PREFIX}door:{parsed}"
