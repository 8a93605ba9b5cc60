"""Records in queues that cannot be read: they are set aside, so that one of them does not stop the others.

Scripts set aside what they cannot read (`lua/_set_aside.lua`), and the stores what they cannot decode. Python code that
reads the ids of batches from a queue uses `valid_batch_ids`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pipeline.domain.ids import is_batch_id
from pipeline.ledger import keys
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.times import moment

NOT_DECODED = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)
"""What decoding damaged data raises."""

_MAX_KEPT = 1000
_MAX_SHOWN = 100

RowT = TypeVar("RowT")


@dataclass(frozen=True)
class SetAside:
    """A member that was removed from `queue`. `member` and `reason` are shortened, in ASCII."""

    queue: str
    member: str
    reason: str
    at: datetime | None

    def is_of(self, batch_id: str) -> bool:
        """Return whether it is a record of a batch."""
        return self.member.split(" ")[0] == batch_id or self.queue.startswith(f"batch:{batch_id}:")


class SetAsideStore:
    """Reads what was set aside. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def add(self, queue: str, member: str, reason: str) -> None:
        """Remove a member from a queue and record it."""
        set_aside(self._scripts, queue, member, reason)

    def number(self) -> int:
        """Return how many are kept: the newest 1,000."""
        return int(self._redis.llen(keys.SET_ASIDE))

    def newest(self, limit: int) -> list[SetAside]:
        """Return the newest, newest first."""
        return [_decoded(text) for text in self._redis.lrange(keys.SET_ASIDE, 0, limit - 1)]

    def of_batch(self, batch_id: str) -> list[SetAside]:
        """Return those of one batch, newest first."""
        return [one for one in self.newest(_MAX_KEPT) if one.is_of(batch_id)]


def _decoded(text: str) -> SetAside:
    try:
        one = json.loads(text)
        return SetAside(str(one["queue"]), str(one["member"]), str(one["reason"]), moment(one["at"]))
    except NOT_DECODED:
        return SetAside("set_aside", repr(text[:_MAX_SHOWN]), "This record cannot be read itself.", None)


def set_aside(scripts: ScriptRunner, queue: str, member: str, reason: str) -> None:
    """Remove a member from a queue and record it."""
    args = (text.encode("utf-8", "surrogateescape") for text in (queue, member, reason))
    scripts.run("set_aside", *args)


def valid_batch_ids(scripts: ScriptRunner, queue: str, members: Sequence[str]) -> list[str]:
    """Return the members of a queue that can be ids of batches. The others are set aside."""
    for member in members:
        if not is_batch_id(member):
            set_aside(scripts, queue, member, "It is not the id of a batch.")
    return [member for member in members if is_batch_id(member)]


def decode_runs(
    scripts: ScriptRunner, queue: str, rows: Sequence[Sequence[Any]], decode: Callable[[Sequence[Any]], RowT]
) -> list[RowT]:
    """Return the decoded rows of a script, each of which begins with batch and item. The others are set aside."""
    decoded = []
    for row in rows:
        try:
            decoded.append(decode(row))
        except NOT_DECODED as error:
            set_aside(scripts, queue, f"{row[0]} {row[1]}", f"{type(error).__name__}: {error}")
    return decoded
