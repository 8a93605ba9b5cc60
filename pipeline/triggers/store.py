"""What triggers store: object versions, gather windows and listings. `pipeline/ledger/keys.py` describes the keys.

Times of windows are the Redis server's; times of listings are the listener's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.ledger import redis_client
from pipeline.ledger.keys import (
    COUNTERS,
    LISTENER,
    batch_key,
    batch_objects_key,
    invalid_message_key,
    messages_key,
    status_files_written_key,
    trigger_key,
)
from pipeline.ledger.ledger import ledger_scripts
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import NOT_DECODED, set_aside
from pipeline.ledger.times import moment_ms, ms, server_time
from pipeline.storage.s3 import ObjectInfo
from pipeline.triggers.object_version import ObjectVersion

REMEMBERED_S = 30 * 86_400.0
"""How long a gathered object version is kept: longer than any queue keeps a message about it."""
_LISTED_S = 86_400.0
_DAY_REMEMBERED_S = 2 * 86_400.0
"""How long the batches of a day are kept."""
_KEEP_S = 90 * 86_400
"""How long the data of a trigger is kept that is not in the file any more."""
_MESSAGE_DIGITS = 12
_LISTENER_S = 60
"""How long a listener counts as running after its last sign."""
_LUA = Path(__file__).with_name("lua")


class TriggerStore:
    """Reads and changes what triggers store. Thread-safe. Every method may raise Unreachable."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._scripts = ScriptRunner(redis, _LUA, libraries=("_triggers",))
        self._ledger_scripts = ledger_scripts(redis)

    @classmethod
    def connect(cls, redis_url: str) -> TriggerStore:
        """Return the store on the server at `redis_url`. Nothing is sent yet."""
        return cls(redis_client.connect(redis_url))

    # Listeners

    def record_listener(self) -> None:
        """Record that a listener runs. Call it more often than once a minute."""
        self._redis.set(LISTENER, 1, ex=_LISTENER_S)

    def has_listener(self) -> bool:
        """Return whether a listener has run in the last minute."""
        return bool(self._redis.exists(LISTENER))

    # Batches and their objects

    def record_objects(self, batch_id: str, objects: Collection[ObjectVersion]) -> None:
        """Store the object versions of a batch, before the batch is submitted."""
        self._redis.hset(batch_objects_key(batch_id), mapping={one.digest: _encode(one) for one in objects})

    def drop_objects(self, batch_id: str) -> None:
        """Delete the object versions of a batch that is not in Redis."""
        self._redis.delete(batch_objects_key(batch_id))

    def objects(self, batch_id: str) -> list[ObjectVersion]:
        """Return the object versions of a batch."""
        return self._decode_all(batch_objects_key(batch_id))

    def mark_reported(self, batch_id: str) -> None:
        """Record that the status files of a batch's objects record that it was accepted."""
        self._redis.set(status_files_written_key(batch_id), 1)

    def is_reported(self, batch_id: str) -> bool:
        """Return whether `mark_reported` was called: nothing is left to do for the objects of the batch.

        The mark leaves Redis with the items of an archived batch.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.exists(status_files_written_key(batch_id))
            pipe.hmget(batch_key(batch_id), "archived", "restored")
            is_marked, times = pipe.execute()
        return bool(is_marked) or any(time is not None for time in times)

    def record_last_batch(self, trigger: str, batch_id: str) -> None:
        """Store the id of the batch that a trigger started last."""
        self._redis.set(trigger_key(trigger, "last"), batch_id, ex=_KEEP_S)

    def last_batches(self, triggers: Sequence[str]) -> list[str | None]:
        """Return the id of the batch that each of these triggers started last; None before the first."""
        ids: list[str | None] = self._redis.mget([trigger_key(name, "last") for name in triggers]) if triggers else []
        return ids

    # Batches of a day

    def count_batch(self, trigger: str, batch_id: str, limit: int) -> int | None:
        """Count a batch among those of the UTC day, once. Returns the day; None if it has `limit` batches already."""
        day, is_counted = self._scripts.run("count_batch", trigger, batch_id, limit, ms(_DAY_REMEMBERED_S))
        return int(day) if is_counted else None

    def full_day(self, trigger: str, limit: int) -> int | None:
        """Return the UTC day, as days since 1970, if the trigger has started `limit` batches on it; else None."""
        day, has_room = self._scripts.run("count_batch", trigger, "", limit, ms(_DAY_REMEMBERED_S))
        return None if has_room else int(day)

    def is_counted(self, trigger: str, batch_id: str, day: int) -> bool:
        """Return whether a batch is among those of a UTC day."""
        return bool(self._redis.sismember(trigger_key(trigger, f"day:{day}"), batch_id))

    def withdraw_batch(self, trigger: str, batch_id: str, day: int) -> None:
        """Delete a batch that was counted and is refused, and its object versions."""
        self._redis.srem(trigger_key(trigger, f"day:{day}"), batch_id)
        self._redis.delete(batch_objects_key(batch_id))

    def deferred(self, trigger: str, batch_ids: Sequence[str], day: int) -> list[bool]:
        """Return for each of these batches whether `record_deferred` was called on this day."""
        return [bool(known) for known in self._redis.smismember(trigger_key(trigger, f"deferred:{day}"), batch_ids)]

    def record_deferred(self, trigger: str, batch_id: str, objects: int, day: int) -> bool:
        """Record that a batch of `objects` waits for the next day. Returns whether it is the first one on this day."""
        key = trigger_key(trigger, f"deferred:{day}")
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.sadd(key, batch_id)
            pipe.scard(key)
            pipe.expire(key, int(_DAY_REMEMBERED_S))
            pipe.hincrby(COUNTERS, "deferred", objects)
            is_new, number, *_ = pipe.execute()
        return bool(is_new and number == 1)

    def output_of(self, batch_id: str) -> str | None:
        """Return the folder of a batch; None if there is no such batch."""
        folder: str | None = self._redis.hget(batch_key(batch_id), "output")
        return folder

    # Missing objects

    def missing_for_s(self, trigger: str, identity: str) -> float:
        """Return the seconds since an event's object was missing for the first time. They are kept for a day."""
        key, now_ms = trigger_key(trigger, "missing"), moment_ms(server_time(self._redis))
        member = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(key, "-inf", now_ms - ms(_LISTED_S))
            pipe.zadd(key, {member: now_ms}, nx=True)
            pipe.zscore(key, member)
            pipe.expire(key, int(_LISTED_S))
            *_, first_ms, _ = pipe.execute()
        return float(now_ms - first_ms) / 1000

    # Invalid messages

    def set_message_aside(self, source: str, body: str, reason: str) -> None:
        """Record a message that cannot be read, or not in full, once a day: `status` and `doctor` name it."""
        digest = hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:_MESSAGE_DIGITS]
        if self._redis.set(invalid_message_key(digest), 1, nx=True, ex=int(_LISTED_S)):
            set_aside(self._ledger_scripts, messages_key(source), digest, reason)

    # Gather windows

    def gather(self, trigger: str, version: ObjectVersion, *, limit: int) -> bool:
        """Add an object version to the open window, on the server's disk. Returns False if it was gathered before."""
        args = (trigger, version.digest, _encode(version), limit)
        return bool(self._scripts.run_durably("gather_object", *args) == 1)

    def is_taken(self, trigger: str, version: ObjectVersion) -> bool:
        """Return whether an object version was gathered."""
        return self._redis.zscore(trigger_key(trigger, "taken"), version.digest) is not None

    def closed_windows(self, trigger: str, gather_s: float) -> list[str]:
        """Return the windows whose batch is due for submission. A window is closed `gather_s` after it was opened."""
        numbers: list[str] = self._scripts.run("close_windows", trigger, ms(gather_s), ms(REMEMBERED_S))
        return numbers

    def window(self, trigger: str, number: str) -> list[ObjectVersion]:
        """Return the object versions of a closed window. They do not change any more."""
        return self._decode_all(trigger_key(trigger, f"window:{number}"))

    def forget_window(self, trigger: str, number: str) -> None:
        """Delete a window whose batch is on the ledger."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.zrem(trigger_key(trigger, "closed"), number)
            pipe.delete(trigger_key(trigger, f"window:{number}"))
            pipe.execute()

    # Listings

    def acquire_turn(self, trigger: str, lasts_s: float) -> bool:
        """Return whether the caller polls the watched prefix now: one listener does in `lasts_s` seconds."""
        return bool(self._redis.set(trigger_key(trigger, "turn"), 1, nx=True, px=ms(lasts_s)))

    def unlisted(self, trigger: str, objects: Sequence[ObjectInfo], now: float) -> list[ObjectInfo]:
        """Return the objects that were not recorded before; record for the others that they still exist."""
        if not objects:
            return []
        key, members = trigger_key(trigger, "listed"), [_listed_member(info) for info in objects]
        scores = self._redis.zmscore(key, members)
        known = {member: now * 1000 for member, score in zip(members, scores, strict=True) if score is not None}
        if known:
            self._redis.zadd(key, known, xx=True)
        return [info for info, score in zip(objects, scores, strict=True) if score is None]

    def record_listed(self, trigger: str, info: ObjectInfo, now: float) -> None:
        """Record that an object was handled: it is not handled again until it changes."""
        key = trigger_key(trigger, "listed")
        self._redis.zadd(key, {_listed_member(info): now * 1000})
        self._redis.expire(key, _KEEP_S)

    def forget_missing(self, trigger: str, now: float) -> None:
        """Delete objects that were not listed for a day. Call it after the whole watched prefix was listed.

        One that is listed again later is the batch that it was.
        """
        key = trigger_key(trigger, "listed")
        self._redis.zremrangebyscore(key, "-inf", (now - _LISTED_S) * 1000)
        self._redis.expire(key, _KEEP_S)

    def _decode_all(self, key: str) -> list[ObjectVersion]:
        """Return the object versions of a hash. What cannot be read is set aside."""
        versions = []
        for digest, text in self._redis.hgetall(key).items():
            try:
                versions.append(_decode(text))
            except NOT_DECODED as error:
                set_aside(self._ledger_scripts, key, digest, f"{type(error).__name__}: {error}")
        return versions


def _decode(text: str) -> ObjectVersion:
    fields = json.loads(text)
    return ObjectVersion(*(fields[name] + "" for name in ("bucket", "key", "version")))


def _encode(version: ObjectVersion) -> str:
    return json.dumps(asdict(version), ensure_ascii=False)


def _listed_member(info: ObjectInfo) -> str:
    # The time is part of it: the same content, uploaded again, is handled again.
    text = f"{info.uri}\0{info.etag}\0{info.modified}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
