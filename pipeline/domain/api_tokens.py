"""Bearer tokens of this service and the names of their holders. Pure.

`PIPELINE_API_TOKEN` is one token, or several with names: `anna:TOKEN,ci:TOKEN`. Only digests are kept. All of them are
compared, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re

MIN_TOKEN_CHARS = 16
MAX_TOKEN_CHARS = 1024
_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,31}):(.*)", re.DOTALL)
_DEFAULT_NAME = "api"


class Tokens:
    """The valid tokens. `text`: as in PIPELINE_API_TOKEN; without a token in it, the object is false."""

    def __init__(self, text: str) -> None:
        entries = _entries(text)
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

    def first_mark(self) -> str:
        """Return the mark of the first token."""
        return _mark(self._digests[0][1])

    def holder_of_mark(self, mark: str) -> str | None:
        """Return the name of the holder of the token with this `mark`; None if the token is no longer valid."""
        wanted = mark.encode("utf-8", "replace")
        names = [name for name, digest in self._digests if hmac.compare_digest(wanted, _mark(digest).encode())]
        return names[0] if names else None


def check_tokens(text: str) -> None:
    """Raise ValueError unless `text` is one token, or several with names, none of which can be guessed.

    The message contains no part of `text`.
    """
    entries = _entries(text)
    if not entries:
        raise ValueError("has no token in it")
    for entry in entries:
        # What stands before a colon counts as a name, even where it cannot be one: names are no secrets.
        token = entry.partition(":")[2].strip() if ":" in entry else entry
        if not token:
            raise ValueError("has a name without a token after its colon")
        if not MIN_TOKEN_CHARS <= len(token) <= MAX_TOKEN_CHARS:
            raise ValueError(
                f"each token must have {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS:,} characters, without its name; "
                "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )


def _entries(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def _parts(entry: str) -> tuple[str, str]:
    named = _NAMED.fullmatch(entry)
    return (named[1], named[2].strip()) if named else (_DEFAULT_NAME, entry)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _mark(digest: bytes) -> str:
    return hmac.digest(digest, b"dailies.session", "sha256").hex()[:32]
