"""What the ledger knows of schedules: which ticks were seen, wait, and what became of them.

The scripts are in `lua/schedules/`. Keys, all under `dailies:`

    schedules                 hash  text (of the last schedules.yaml without mistakes), trouble (what is wrong with a
                                    newer one), beat (when the schedules were last looked at, ms)
    schedule:{name}           hash  seen (up to when ticks were looked for, ms), paused (since, ms), lease, lease_until
    schedule:{name}:waiting   zset  tick → when it is to start (ms)
    schedule:{name}:caught_up set   those of them that wait for the batch before them, whatever `overlap` says
    schedule:{name}:tries     hash  tick → how often its batch could not be made
    schedule:{name}:open      set   batch ids that had not ended when they were last looked at
    schedule:{name}:records   list  JSON of what was started or skipped and why, newest first

A tick is written `YYYYMMDDTHHMMZ`. A schedule that is not in the file any more is forgotten after 90 days.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.domain.states import BATCH_TERMINAL
from pipeline.ledger import redis_client
from pipeline.ledger.keys import PREFIX, batch_key
from pipeline.ledger.records import moment, ms
from pipeline.schedules.occurrences import Occurrence, occurrence_from_text, occurrence_text

MAX_RECORDS = 50
_KEEP_S = 90 * 86_400
_LUA = Path(__file__).with_name("lua")
_FILE = f"{PREFIX}schedules"


class Did(StrEnum):
    """What became of a tick."""

    STARTED = "started"
    SKIPPED = "skipped"
    FAILED = "failed"
    """its batch could not be made"""


@dataclass(frozen=True)
class Record:
    """What became of a tick, or of several in a row that were skipped for one reason. Times are aware UTC."""

    did: Did
    at: datetime
    occurrence: datetime | None = None
    """None: it was run by hand."""
    last: datetime | None = None
    """The last of several ticks."""
    batch: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class ScheduleRow:
    """What is known of one schedule. `records` are newest first."""

    seen: datetime | None
    paused: bool
    waiting: tuple[Occurrence, ...]
    """In the order of their moments."""
    tries: Mapping[datetime, int]
    """How often the batch of a tick that waits could not be made."""
    records: tuple[Record, ...]


@dataclass(frozen=True)
class FileRow:
    """What is known of schedules.yaml."""

    text: str | None
    """The last one without mistakes."""
    trouble: str | None
    """What is wrong with the one that is there now."""
    beat: datetime | None
    """When the schedules were last looked at."""


class ScheduleStore:
    """Every read and every change. Thread-safe. Times that are told are aware; leases run by the server's clock."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        prelude = (_LUA / "_common.lua").read_text()
        self._scripts = {
            path.stem: redis.register_script(prelude + path.read_text())
            for path in _LUA.glob("*.lua")
            if not path.stem.startswith("_")
        }

    @classmethod
    def connect(cls, redis_url: str, *, retry_timeout_s: float = 0) -> ScheduleStore:
        """On the server at `redis_url`; nothing is sent yet. Every method may raise Unreachable."""
        return cls(redis_client.connect(redis_url, retry_timeout_s=retry_timeout_s))

    def _run(self, script: str, *args: object) -> Any:
        return self._scripts[script](keys=[PREFIX], args=args)

    def now(self) -> datetime:
        """The time, by the server's clock: that of a worker decides nothing."""
        second, microsecond = self._redis.time()
        return datetime.fromtimestamp(second, UTC).replace(microsecond=microsecond)

    # The file

    def file(self) -> FileRow:
        """What is known of schedules.yaml."""
        text, trouble, beat = self._redis.hmget(_FILE, "text", "trouble", "beat")
        return FileRow(text, trouble, moment(beat or 0))

    def keep_file(self, text: str) -> None:
        """This one has no mistakes."""
        with self._redis.pipeline() as pipe:
            pipe.hset(_FILE, "text", text)
            pipe.hdel(_FILE, "trouble")
            pipe.execute()

    def report_file(self, trouble: str) -> None:
        """The one that is there has mistakes."""
        self._redis.hset(_FILE, "trouble", trouble)

    def beat(self, now: datetime) -> None:
        """The schedules have been looked at."""
        self._redis.hset(_FILE, "beat", _ms(now))

    # Ticks

    def read(self, name: str) -> ScheduleRow:
        """What is known of a schedule; one that was never seen is blank."""
        key = _key(name)
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key, "seen", "paused")
            pipe.zrange(f"{key}:waiting", 0, -1, withscores=True)
            pipe.smembers(f"{key}:caught_up")
            pipe.hgetall(f"{key}:tries")
            pipe.lrange(f"{key}:records", 0, -1)
            (seen, paused), waiting, caught_up, tries, records = pipe.execute()
        occurrences = [_occurrence(text, score, text in caught_up) for text, score in waiting]
        return ScheduleRow(
            moment(seen or 0),
            paused is not None,
            tuple(sorted(occurrences, key=lambda occurrence: occurrence.moment)),
            {occurrence_from_text(text): int(number) for text, number in tries.items()},
            tuple(map(_record, records)),
        )

    def note_occurrences(
        self, name: str, seen: datetime | None, now: datetime, occurrences: Iterable[Occurrence], missed: Record | None
    ) -> bool:
        """The time from `seen` to `now` was looked at: `ticks` wait from here on. False when somebody else did so."""
        told = _text(missed) if missed else ""
        args = [
            part
            for occurrence in occurrences
            for part in (occurrence_text(occurrence.moment), _ms(occurrence.start_at), int(occurrence.caught_up))
        ]
        before = _ms(seen) if seen else ""
        return bool(self._run("note_ticks", name, before, _ms(now), _KEEP_S, MAX_RECORDS, told, *args) == 1)

    def claim(self, name: str, lease: str, *, lease_s: float) -> bool:
        """Claim the starting of a schedule's ticks, or keep the claim. False when somebody else has it."""
        return bool(self._run("claim", name, lease, ms(lease_s)) == 1)

    def settle(self, name: str, lease: str, occurrence: Occurrence, record: Record) -> bool:
        """A tick is done with. False when the claim was lost: somebody else sees to it."""
        args = (occurrence_text(occurrence.moment), record.batch or "", _text(record), MAX_RECORDS)
        return bool(self._run("settle", name, lease, *args) == 1)

    def defer(self, name: str, lease: str, occurrence: Occurrence, until: datetime) -> int:
        """A tick's batch could not be made for now. Answers how often that was; 0 when the claim was lost."""
        return int(self._run("defer", name, lease, occurrence_text(occurrence.moment), _ms(until)))

    def release(self, name: str, lease: str) -> None:
        """Let a claimed schedule go."""
        self._run("release", name, lease)

    def running(self, name: str) -> list[str]:
        """Batches of the schedule that have not ended, oldest first."""
        key = f"{_key(name)}:open"
        ids = sorted(self._redis.smembers(key))
        with self._redis.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hget(batch_key(batch_id), "status")
            found = dict(zip(ids, pipe.execute(), strict=True))
        if ended := [batch_id for batch_id, status in found.items() if status is None or status in BATCH_TERMINAL]:
            self._redis.srem(key, *ended)
        return [batch_id for batch_id in ids if batch_id not in ended]

    def note_by_hand(self, name: str, batch_id: str, now: datetime) -> None:
        """A batch was started by hand."""
        self._run("record", name, batch_id, _text(Record(Did.STARTED, now, batch=batch_id)), MAX_RECORDS)

    def pause(self, name: str, now: datetime) -> None:
        """Start nothing more of this schedule."""
        self._redis.hsetnx(_key(name), "paused", _ms(now))

    def resume(self, name: str) -> None:
        """Go on from the next tick."""
        self._redis.hdel(_key(name), "paused")


def _key(name: str) -> str:
    return f"{PREFIX}schedule:{name}"


def _ms(when: datetime) -> int:
    return round(when.timestamp() * 1000)


def _occurrence(text: str, start_ms: float, caught_up: bool) -> Occurrence:
    return Occurrence(occurrence_from_text(text), datetime.fromtimestamp(start_ms / 1000, UTC), caught_up)


def _text(record: Record) -> str:
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


def _record(text: str) -> Record:
    document = json.loads(text)
    at, occurrence, last = (_time(document.get(name)) for name in ("at", "tick", "last"))
    if at is None:
        at = datetime.fromtimestamp(0, UTC)
    return Record(Did(document["did"]), at, occurrence, last, document.get("batch"), document.get("why"))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
