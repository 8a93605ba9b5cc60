"""Bearer tokens of this service and the names of their holders. Pure.

`PIPELINE_API_TOKEN` is one token, or several with names: `anna:TOKEN,ci:TOKEN`. Only digests are kept. All of them are
compared, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re

_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,31}):(.+)", re.DOTALL)
_DEFAULT_NAME = "api"
MAX_TOKEN_CHARS = 1024


class Tokens:
    """The valid tokens. `text`: as in PIPELINE_API_TOKEN; without a token in it, the object is false."""

    def __init__(self, text: str) -> None:
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        self._digests = [(name, _digest(token)) for name, token in map(_parts, entries)]
        if len(entries) == 1:
            # A single token may contain a colon and have no name.
            self._digests.append((self._digests[0][0], _digest(entries[0])))

    def __bool__(self) -> bool:
        return bool(self._digests)

    def holder(self, token: str) -> str | None:
        """Return the name of the holder of `token`; None if it is not valid."""
        if len(token) > MAX_TOKEN_CHARS:
            return None
        wanted = _digest(token)
        names = [name for name, digest in self._digests if hmac.compare_digest(wanted, digest)]
        return names[0] if names else None

    def mark(self, token: str) -> str:
        """Return what a session keeps of `token`. The token cannot be derived from it."""
        return _mark(_digest(token))

    def holder_of_mark(self, mark: str) -> str | None:
        """Return the name of the holder of the token with this `mark`; None if the token is no longer valid."""
        wanted = mark.encode("utf-8", "replace")
        names = [name for name, digest in self._digests if hmac.compare_digest(wanted, _mark(digest).encode())]
        return names[0] if names else None


def _parts(entry: str) -> tuple[str, str]:
    named = _NAMED.fullmatch(entry)
    return (named[1], named[2]) if named else (_DEFAULT_NAME, entry)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _mark(digest: bytes) -> str:
    return hmac.digest(digest, b"dailies.session", "sha256").hex()[:32]
