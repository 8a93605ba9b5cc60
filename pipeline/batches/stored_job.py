"""Jobs as RQ stores them, read with care: a client with access to Redis can write any field of a job, or any other key.

RQ's jobs can name functions to call when they end, URLs to request, numbers of repetitions and more. Jobs of this
service use none of that: such fields are not read.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.utils import str_to_date

from pipeline.ledger.redis_client import CommandRefused
from pipeline.ledger.redis_refusals import ServerRefused

MAX_DATA_BYTES = 64 * 1024
_MAX_TEXT_BYTES = 1024
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, zlib.error, CommandRefused)


def _text(value: bytes) -> str:
    if len(value) > _MAX_TEXT_BYTES:
        raise ValueError("too long")
    return value.decode()


def _data(value: bytes) -> bytes:
    """Check that the data is not large, also when RQ has decompressed it."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(value, MAX_DATA_BYTES)
    except zlib.error:
        unpacked = value
    if len(unpacked) > MAX_DATA_BYTES or unpacker.unconsumed_tail:
        raise ValueError("too long")
    return unpacked


_FIELDS: Mapping[str, Callable[[bytes], object]] = {
    "data": _data,
    "origin": _text,
    "description": _text,
    "worker_name": _text,
    "status": lambda value: JobStatus(_text(value)),
    **dict.fromkeys(("created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat"), str_to_date),
    **dict.fromkeys(("timeout", "result_ttl", "failure_ttl", "ttl"), int),
}
"""Field of a job's hash → a function that raises if the value cannot be read."""


class UnreadableJob(NoSuchJobError):
    """What is stored for a job is no job."""


class StoredJob(Job):
    """A job of this service. Fields that it does not use, or that cannot be read, are as if they were not there."""

    # RQ imports callbacks by the names that the job's hash holds.
    success_callback = failure_callback = stopped_callback = None

    @classmethod
    def fetch(cls, id: str, connection: Any = None, serializer: Any = None) -> Job:
        """Return the job with this id. Raises NoSuchJobError, and UnreadableJob if it is no job."""
        try:
            return super().fetch(id, connection=connection, serializer=serializer)
        except ServerRefused:
            raise
        except _UNREADABLE as error:
            raise UnreadableJob(f"It cannot be read: {error}") from None

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Set the attributes from a hash of Redis. Without readable data, the job fails when it is run."""
        fields = {b"data": b"", **{name: value for name, value in raw_data.items() if _is_readable(name, value)}}
        super().restore(fields)

    def dependencies_are_met(self, *_args: object, **_options: object) -> bool:
        """Return False: no job of this service depends on another one, so a dependent is never started."""
        return False


def _is_readable(name: bytes, value: bytes) -> bool:
    read = _FIELDS.get(name.decode("ascii", "replace"))
    try:
        return read is not None and value != b"" and read(value) is not None
    except _UNREADABLE:
        return False
