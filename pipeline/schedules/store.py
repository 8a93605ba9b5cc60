"""What schedules store: occurrences and their outcomes. `pipeline/ledger/keys.py` describes the keys.

Leases use the Redis server's clock. A schedule that is not in the file any more is deleted after 90 days.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pipeline.domain.states import BATCH_TERMINAL
from pipeline.ledger import redis_client
from pipeline.ledger.keys import SCHEDULES_FILE, batch_key, schedule_key
from pipeline.ledger.ledger import ledger_scripts
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import NOT_DECODED, set_aside
from pipeline.ledger.times import moment, moment_ms, ms, server_time
from pipeline.schedules.occurrences import Occurrence, occurrence_from_text, occurrence_text

T = TypeVar("T")

MAX_RECORDS = 50
_KEEP_S = 90 * 86_400
_LUA = Path(__file__).with_name("lua")


class Did(StrEnum):
    """Outcome of an occurrence."""

    STARTED = "started"
    SKIPPED = "skipped"
    FAILED = "failed"
    """its batch could not be started"""


@dataclass(frozen=True)
class Record:
    """Outcome of an occurrence, or of several in a row that were skipped for one reason. Times are aware UTC."""

    did: Did
    at: datetime
    occurrence: datetime | None = None
    """None: a person started the batch."""
    last: datetime | None = None
    """The last of several occurrences."""
    batch: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class ScheduleRow:
    """State of one schedule. `records` are newest first."""

    seen: datetime | None
    """Up to when occurrences were recorded."""
    paused: bool
    waiting: tuple[Occurrence, ...]
    """In the order of their moments."""
    attempts: Mapping[datetime, int]
    """Failed attempts to start the batch of a waiting occurrence."""
    records: tuple[Record, ...]


@dataclass(frozen=True)
class FileRow:
    """State of schedules.yaml."""

    text: str | None
    """The last valid one."""
    error: str | None
    """What is wrong with the current one."""
    evaluated_at: datetime | None
    """When the schedules were evaluated last."""


class ScheduleStore:
    """Reads and changes what schedules store. Thread-safe. Times are aware; leases use the server's clock."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._scripts = ScriptRunner(redis, _LUA, libraries=("_schedules",))
        self._ledger_scripts = ledger_scripts(redis)

    @classmethod
    def connect(cls, redis_url: str, *, retry_timeout_s: float = 0) -> ScheduleStore:
        """Return the store on the server at `redis_url`. Nothing is sent yet. Every method may raise Unreachable."""
        return cls(redis_client.connect(redis_url, retry_timeout_s=retry_timeout_s))

    def now(self) -> datetime:
        """Return the time of the server's clock. The clocks of workers do not matter."""
        return server_time(self._redis)

    # The file

    def file(self) -> FileRow:
        """Return the state of schedules.yaml."""
        text, error, evaluated_at = self._redis.hmget(SCHEDULES_FILE, "text", "trouble", "beat")
        return FileRow(text, error, moment(evaluated_at or 0))

    def record_valid_file(self, text: str) -> None:
        """Store the text of a valid schedules.yaml."""
        with self._redis.pipeline() as pipe:
            pipe.hset(SCHEDULES_FILE, "text", text)
            pipe.hdel(SCHEDULES_FILE, "trouble")
            pipe.execute()

    def record_file_error(self, error: str) -> None:
        """Store what is wrong with the current schedules.yaml."""
        self._redis.hset(SCHEDULES_FILE, "trouble", error)

    def record_evaluation(self, now: datetime) -> None:
        """Record that the schedules were evaluated."""
        self._redis.hset(SCHEDULES_FILE, "beat", moment_ms(now))

    # Occurrences

    def read(self, name: str) -> ScheduleRow:
        """Return the state of a schedule; it is empty before the first evaluation."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(schedule_key(name), "seen", "paused")
            pipe.zrange(schedule_key(name, "waiting"), 0, -1, withscores=True)
            pipe.smembers(schedule_key(name, "caught_up"))
            pipe.hgetall(schedule_key(name, "tries"))
            pipe.lrange(schedule_key(name, "records"), 0, -1)
            (seen, paused), waiting, caught_up, attempts, records = pipe.execute()
        occurrences = self._readable(
            name,
            "waiting",
            [text for text, _ in waiting],
            lambda text: _occurrence(text, dict(waiting)[text], caught_up),
        )
        failed = self._readable(
            name, "tries", list(attempts), lambda text: (occurrence_from_text(text), int(attempts[text]))
        )
        return ScheduleRow(
            seen=moment(seen or 0),
            paused=paused is not None,
            waiting=tuple(sorted(occurrences, key=lambda occurrence: occurrence.moment)),
            attempts=dict(failed),
            records=tuple(self._readable(name, "records", records, _decode_record)),
        )

    def _readable(self, name: str, part: str, texts: Sequence[str], decode: Callable[[str], T]) -> list[T]:
        """Return what one part of a schedule's data holds. What cannot be read is set aside."""
        decoded = []
        for text in texts:
            try:
                decoded.append(decode(text))
            except NOT_DECODED as error:
                if part == "records":
                    self._redis.lrem(schedule_key(name, part), 0, text)
                set_aside(self._ledger_scripts, schedule_key(name, part), text, f"{type(error).__name__}: {error}")
        return decoded

    def record_occurrences(
        self, name: str, seen: datetime | None, now: datetime, occurrences: Iterable[Occurrence], missed: Record | None
    ) -> bool:
        """Store the occurrences between the evaluations `seen` and `now`: they wait from now on.

        Returns False if another process has evaluated that time.
        """
        args = [
            part
            for occurrence in occurrences
            for part in (occurrence_text(occurrence.moment), moment_ms(occurrence.start_at), int(occurrence.caught_up))
        ]
        window = (moment_ms(seen) if seen else "", moment_ms(now))
        missed_text = _encode_record(missed) if missed else ""
        result = self._scripts.run("record_occurrences", name, *window, _KEEP_S, MAX_RECORDS, missed_text, *args)
        return bool(result == 1)

    def claim(self, name: str, lease: str, *, lease_s: float) -> bool:
        """Lease a schedule or renew the lease. Returns False if another process holds it."""
        return bool(self._scripts.run("claim_schedule", name, lease, ms(lease_s)) == 1)

    def complete(self, name: str, lease: str, occurrence: Occurrence, record: Record) -> bool:
        """Complete an occurrence. Returns False if the lease was lost or the occurrence was completed."""
        args = (occurrence_text(occurrence.moment), record.batch or "", _encode_record(record), MAX_RECORDS)
        return bool(self._scripts.run("complete_occurrence", name, lease, *args) == 1)

    def defer(self, name: str, lease: str, occurrence: Occurrence, until: datetime) -> int:
        """Make an occurrence due at `until` whose batch could not be started.

        Returns the number of failed attempts; 0 if the lease was lost or the occurrence was completed.
        """
        args = (occurrence_text(occurrence.moment), moment_ms(until))
        return int(self._scripts.run("defer_occurrence", name, lease, *args))

    def release(self, name: str, lease: str) -> None:
        """Release a leased schedule."""
        self._scripts.run("release_schedule", name, lease)

    def running(self, name: str) -> list[str]:
        """Return the batches of the schedule that have not ended, oldest first."""
        key = schedule_key(name, "open")
        ids = sorted(self._redis.smembers(key))
        with self._redis.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hget(batch_key(batch_id), "status")
            statuses = dict(zip(ids, pipe.execute(raise_on_error=False), strict=True))
        # A batch whose record is gone or cannot be read holds nothing up.
        if ended := [
            one for one, status in statuses.items() if not isinstance(status, str) or status in BATCH_TERMINAL
        ]:
            self._redis.srem(key, *ended)
        return [batch_id for batch_id in ids if batch_id not in ended]

    def record_manual_start(self, name: str, batch_id: str, now: datetime) -> None:
        """Record a batch that a person started."""
        record = _encode_record(Record(Did.STARTED, now, batch=batch_id))
        self._scripts.run("record_manual_start", name, batch_id, record, MAX_RECORDS)

    def pause(self, name: str, now: datetime) -> None:
        """Stop a schedule: it starts no batches."""
        self._redis.hsetnx(schedule_key(name), "paused", moment_ms(now))

    def resume(self, name: str) -> None:
        """Continue a paused schedule from the next occurrence."""
        self._redis.hdel(schedule_key(name), "paused")


def _occurrence(text: str, start_ms: float, caught_up: Collection[str]) -> Occurrence:
    return Occurrence(occurrence_from_text(text), datetime.fromtimestamp(start_ms / 1000, UTC), text in caught_up)


def _encode_record(record: Record) -> str:
    last = record.last or record.occurrence
    document = {
        "did": record.did,
        "at": record.at.isoformat(),
        "tick": record.occurrence.isoformat() if record.occurrence else None,
        "last": last.isoformat() if last else None,
        "batch": record.batch,
        "why": record.why,
    }
    return json.dumps({name: value for name, value in document.items() if value is not None}, ensure_ascii=False)


def _decode_record(text: str) -> Record:
    document = json.loads(text)
    at, occurrence, last = (_time(document.get(name)) for name in ("at", "tick", "last"))
    if at is None:
        at = datetime.fromtimestamp(0, UTC)
    return Record(Did(document["did"]), at, occurrence, last, document.get("batch"), document.get("why"))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
