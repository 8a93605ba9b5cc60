"""The callbacks that `doctor` waits for: how they came, never what they contain. They belong to no batch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from pipeline.ledger.keys import live_check_key
from pipeline.ledger.scripts import ScriptRunner

LIFETIME_S = 3600
MAX_CALLBACKS = 20
"""Later callbacks of the same run are not stored."""


@dataclass(frozen=True)
class ReceivedCallback:
    """One callback. `headers`: their names. `shape`: keys and types of the body. `status`: of our response."""

    received: datetime
    status: int
    headers: tuple[str, ...]
    content_type: str
    shape: str
    names_task: bool


class LiveCheckStore:
    """Stores the callbacks of a check for LIFETIME_S seconds. Thread-safe.

    A callback is stored only if its check was opened: a late one leaves no key.
    """

    def __init__(self, scripts: ScriptRunner) -> None:
        self._redis = scripts.redis

    def open(self, check_id: str, *, refusals: int) -> None:
        """Begin a check. Its first `refusals` callbacks are to be refused."""
        key = live_check_key(check_id)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.rpush(key, refusals)
            pipe.expire(key, LIFETIME_S)
            pipe.execute()

    def close(self, check_id: str) -> None:
        """End a check and delete its callbacks."""
        self._redis.delete(live_check_key(check_id))

    def refuses_next(self, check_id: str) -> bool:
        """Return whether the next callback is to be refused. False if the check is not open."""
        key = live_check_key(check_id)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.lindex(key, 0)
            pipe.llen(key)
            refusals, length = pipe.execute()
        return bool(refusals is not None and length <= int(refusals))

    def add(self, check_id: str, callback: ReceivedCallback) -> None:
        """Store a callback."""
        key, text = live_check_key(check_id), json.dumps(asdict(callback), default=datetime.isoformat)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.rpushx(key, text)
            pipe.ltrim(key, 0, MAX_CALLBACKS)
            pipe.execute()

    def callbacks(self, check_id: str) -> list[ReceivedCallback]:
        """Return the callbacks, oldest first."""
        return [_callback(text) for text in self._redis.lrange(live_check_key(check_id), 1, -1)]


def _callback(text: str) -> ReceivedCallback:
    fields = json.loads(text)
    received = datetime.fromisoformat(fields["received"])
    return ReceivedCallback(**{**fields, "received": received, "headers": tuple(fields["headers"])})
