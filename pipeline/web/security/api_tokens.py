"""Who holds a bearer token of this service. Pure.

`PIPELINE_API_TOKEN` is one token, or several with names: `anna:TOKEN,ci:TOKEN`. Only digests are kept, and every one
of them is compared, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re

_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,31}):(.+)", re.DOTALL)
_NAMELESS = "api"
MAX_TOKEN_CHARS = 1024


class Tokens:
    """The tokens that are good now. Without any, nobody holds one."""

    def __init__(self, text: str) -> None:
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        self._digests = [(name, _digest(token)) for name, token in map(_parts, entries)]
        if len(entries) == 1:
            # A single token may have a colon in it without being named.
            self._digests.append((self._digests[0][0], _digest(entries[0])))

    def __bool__(self) -> bool:
        return bool(self._digests)

    def holder(self, token: str) -> str | None:
        """The name of the one who holds `token`; None for any other text."""
        if len(token) > MAX_TOKEN_CHARS:
            return None
        asked = _digest(token)
        found = [name for name, digest in self._digests if hmac.compare_digest(asked, digest)]
        return found[0] if found else None

    def mark(self, token: str) -> str:
        """What a session remembers of the token that it was opened with: tells nothing about it."""
        return _mark(_digest(token))

    def holder_of_mark(self, mark: str) -> str | None:
        """The name behind `mark`; None once its token is no longer good."""
        asked = mark.encode("utf-8", "replace")
        found = [name for name, digest in self._digests if hmac.compare_digest(asked, _mark(digest).encode())]
        return found[0] if found else None


def _parts(entry: str) -> tuple[str, str]:
    named = _NAMED.fullmatch(entry)
    return (named[1], named[2]) if named else (_NAMELESS, entry)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _mark(digest: bytes) -> str:
    return hmac.digest(digest, b"dailies.session", "sha256").hex()[:32]
