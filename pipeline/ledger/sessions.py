"""Sessions of browsers. The browser has a random id, the ledger only its digest."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from pipeline.ledger.keys import session_key
from pipeline.ledger.scripts import ScriptRunner

LIFETIME = timedelta(hours=12)


class SessionStore:
    """Stores the mark of the token that signed in, for LIFETIME. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def start(self, mark: str) -> str:
        """Start a session for the token with this `mark`. Return its id."""
        session_id = secrets.token_urlsafe(32)
        self._redis.set(_key(session_id), mark, ex=LIFETIME)
        return session_id

    def mark(self, session_id: str) -> str | None:
        """Return the mark of the token that started the session; None if the session has ended."""
        mark = self._redis.get(_key(session_id))
        return None if mark is None else str(mark)

    def end(self, session_id: str) -> None:
        """End a session."""
        self._redis.delete(_key(session_id))


def _key(session_id: str) -> str:
    return session_key(hashlib.sha256(session_id.encode("utf-8", "replace")).hexdigest())
