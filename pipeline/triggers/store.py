"""What triggers remember: the part of the ledger that knows drops. Keys, all under `dailies:`

    trigger:{name}:turn        text  a listener lists the inbox now; the others let it
    trigger:{name}:listed      zset  object as it was listed → when it was last (ms): what need not be looked at again
    trigger:{name}:last        text  the batch that it started last
    trigger:{name}:taken       zset  digest of a drop → when it was gathered (ms)
    trigger:{name}:window      hash  n (number of the open window), since (when its first drop came, ms)
    trigger:{name}:window:{n}  hash  digest of a drop → JSON of it
    trigger:{name}:closed      zset  number of a window whose batch is to be submitted → when it was closed (ms)
    batch:{id}:drops           hash  digest → JSON of the drops that the batch is of
    batch:{id}:told            text  beside every drop of the batch stands that it was accepted

Times of windows are the Redis server's, those of listings the listener's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.ledger import redis_client
from pipeline.ledger.durability import run_durably
from pipeline.ledger.keys import PREFIX, batch_key
from pipeline.ledger.records import ms
from pipeline.storage.s3 import ObjectInfo
from pipeline.triggers.object_version import ObjectVersion

REMEMBERED_S = 30 * 86_400.0
"""How long a gathered drop is remembered: longer than any queue keeps word of it."""
_LISTED_S = 86_400.0
_LUA = Path(__file__).with_name("lua")


class TriggerStore:
    """Every read and write of what triggers remember. Thread-safe. Every method may raise Unreachable."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._scripts = {path.stem: redis.register_script(path.read_text()) for path in _LUA.glob("*.lua")}

    @classmethod
    def connect(cls, redis_url: str) -> TriggerStore:
        """On the server at `redis_url`; nothing is sent yet."""
        return cls(redis_client.connect(redis_url))

    # Batches and their drops

    def note_objects(self, batch_id: str, objects: Collection[ObjectVersion]) -> None:
        """Before a batch is submitted: what it is of."""
        self._redis.hset(f"{batch_key(batch_id)}:drops", mapping={drop.digest: _text(drop) for drop in objects})

    def objects(self, batch_id: str) -> list[ObjectVersion]:
        """What a batch is of."""
        return [ObjectVersion(**json.loads(text)) for text in self._redis.hvals(f"{batch_key(batch_id)}:drops")]

    def note_reported(self, batch_id: str) -> None:
        """The batch is on the ledger, and beside its drops stands that it was accepted."""
        self._redis.set(f"{batch_key(batch_id)}:told", 1)

    def note_last(self, trigger: str, batch_id: str) -> None:
        """The trigger has started a batch."""
        self._redis.set(f"{_key(trigger)}last", batch_id)

    def last_batches(self, triggers: Sequence[str]) -> list[str | None]:
        """The batch that each of these triggers started last; None before its first."""
        found: list[str | None] = self._redis.mget([f"{_key(name)}last" for name in triggers]) if triggers else []
        return found

    def is_reported(self, batch_id: str) -> bool:
        """Whether `note_told` was called: there is nothing left to do for the batch's drops."""
        return bool(self._redis.exists(f"{batch_key(batch_id)}:told"))

    def output_of(self, batch_id: str) -> str | None:
        """The folder of a batch; None when there is no such batch."""
        folder: str | None = self._redis.hget(batch_key(batch_id), "output")
        return folder

    # Gathering

    def gather(self, trigger: str, drop: ObjectVersion, *, limit: int) -> bool:
        """Put a drop into the trigger's open window, on the server's disk. False when it was taken before."""
        args = (drop.digest, _text(drop), limit)
        return bool(run_durably(self._redis, self._scripts["gather"], _key(trigger), *args) == 1)

    def is_taken(self, trigger: str, drop: ObjectVersion) -> bool:
        """Whether a drop was gathered."""
        return self._redis.zscore(f"{_key(trigger)}taken", drop.digest) is not None

    def closed_windows(self, trigger: str, gather_s: float) -> list[str]:
        """Windows whose batch is to be submitted; an open one is closed when `gather_s` have passed."""
        numbers: list[str] = self._run("close_window", trigger, ms(gather_s), ms(REMEMBERED_S))
        return numbers

    def window(self, trigger: str, number: str) -> list[ObjectVersion]:
        """The drops of a closed window: they do not change any more."""
        return [ObjectVersion(**json.loads(text)) for text in self._redis.hvals(f"{_key(trigger)}window:{number}")]

    def forget_window(self, trigger: str, number: str) -> None:
        """The window's batch is on the ledger."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.zrem(f"{_key(trigger)}closed", number)
            pipe.delete(f"{_key(trigger)}window:{number}")
            pipe.execute()

    # Listing

    def acquire_turn(self, trigger: str, lasts_s: float) -> bool:
        """Whether it is ours to list the inbox: one listener does in `lasts_s`."""
        return bool(self._redis.set(f"{_key(trigger)}turn", 1, nx=True, px=ms(lasts_s)))

    def unlisted(self, trigger: str, objects: Sequence[ObjectInfo], now: float) -> list[ObjectInfo]:
        """Those `objects` that were not noted before; the others are known to be there still."""
        key, members = f"{_key(trigger)}listed", [_as_listed(info) for info in objects]
        scores = self._redis.zmscore(key, members)
        known = {member: now * 1000 for member, score in zip(members, scores, strict=True) if score is not None}
        if known:
            self._redis.zadd(key, known, xx=True)
        return [info for info, score in zip(objects, scores, strict=True) if score is None]

    def note_listed(self, trigger: str, info: ObjectInfo, now: float) -> None:
        """An object was seen to: it is not looked at again while it stays as it is."""
        self._redis.zadd(f"{_key(trigger)}listed", {_as_listed(info): now * 1000})

    def forget_gone(self, trigger: str, now: float) -> None:
        """After the whole inbox was listed: forget objects that have not been there for a day."""
        self._redis.zremrangebyscore(f"{_key(trigger)}listed", "-inf", (now - _LISTED_S) * 1000)

    def _run(self, script: str, trigger: str, *args: object) -> Any:
        return self._scripts[script](keys=[_key(trigger)], args=args)


def _key(trigger: str) -> str:
    return f"{PREFIX}trigger:{trigger}:"


def _text(drop: ObjectVersion) -> str:
    return json.dumps(asdict(drop), ensure_ascii=False)


def _as_listed(info: ObjectInfo) -> str:
    # The time as well: who drops the same content again wants it looked at again.
    seen = f"{info.uri}\0{info.etag}\0{info.modified}"
    return hashlib.sha256(seen.encode()).hexdigest()[:32]
