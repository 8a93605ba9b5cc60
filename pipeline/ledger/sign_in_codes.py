"""One-time codes that sign a browser in. The ledger has only their digests."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from pipeline.ledger.keys import sign_in_code_key
from pipeline.ledger.scripts import ScriptRunner

LIFETIME = timedelta(hours=24)


class SignInCodeStore:
    """Stores for which token a code signs in, for LIFETIME or until it is used. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def create(self, mark: str) -> str:
        """Return a new code that signs in as the holder of the token with this `mark`."""
        code = secrets.token_urlsafe(32)
        self._redis.set(_key(code), mark, ex=LIFETIME)
        return code

    def use(self, code: str) -> str | None:
        """Return the mark of the token that `code` signs in for, once; None if it was used, is too old or wrong."""
        mark = self._redis.getdel(_key(code))
        return None if mark is None else str(mark)


def _key(code: str) -> str:
    return sign_in_code_key(hashlib.sha256(code.encode("utf-8", "replace")).hexdigest())
