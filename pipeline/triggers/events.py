"""Messages about S3 objects become ObjectEvents. Pure.

Formats: notifications of AWS and MinIO (keys are URL-encoded), the same inside an SNS message, EventBridge events (keys
are not encoded), S3's test event. Delivery is at least once and in any order, so an event only names an object.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, unquote_plus

from pipeline.errors import DailiesError

MAX_RECORDS = 1000
"""How many records a message may have. AWS sends one, others a few."""
_MAX_ENVELOPES = 3


class NotAnEvent(DailiesError):
    """The message is not about an S3 object."""

    events: Sequence[ObjectEvent] = ()
    """Those of its records that can be read."""


class Kind(StrEnum):
    """What happened to an object."""

    CREATED = "created"
    REMOVED = "removed"
    TEST = "test"
    """S3 sends it when notifications are set up; there is no object."""
    OTHER = "other"
    """tags, restores, reads: there is no new content"""


@dataclass(frozen=True)
class ObjectEvent:
    """What happened to one object. Fields that the message does not have are '' (`size`: None)."""

    kind: Kind
    bucket: str
    key: str = ""
    version_id: str = ""
    etag: str = ""
    size: int | None = None
    sequencer: str = ""
    """Grows from event to event of one key. Only for the log: the current version is read from S3."""
    other_keys: tuple[str, ...] = field(default=(), compare=False)
    """What the key may be as well: servers encode keys in different ways."""

    @property
    def uri(self) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"


def parse(text: bytes | str) -> list[ObjectEvent]:
    """Return the events of a message. Raises NotAnEvent."""
    return events_of(as_object(text))


def as_object(text: bytes | str) -> Mapping[str, Any]:
    """Return a message as a JSON object. Raises NotAnEvent."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise NotAnEvent("The message is not JSON.") from None
    if not isinstance(document, dict):
        raise NotAnEvent("The message is not a JSON object.")
    return document


def events_of(document: Mapping[str, Any]) -> list[ObjectEvent]:
    """Return the events of a decoded message. Raises NotAnEvent, also if only some of its records can be read."""
    for _ in range(_MAX_ENVELOPES):
        if document.get("Type") != "Notification":
            break
        document = as_object(_text(document, "Message"))
    if "Records" in document:
        return _read_all(_records(document["Records"]))
    if document.get("source") == "aws.s3":
        return [_from_eventbridge(document)]
    if document.get("Event") == "s3:TestEvent":
        return [ObjectEvent(Kind.TEST, _text(document, "Bucket"))]
    raise NotAnEvent("The message is neither an S3 notification nor an EventBridge event of S3.")


def _records(records: object) -> list[Any]:
    if not isinstance(records, list) or not records:
        raise NotAnEvent("The notification has no records.")
    if len(records) > MAX_RECORDS:
        raise NotAnEvent(f"The notification has more than {MAX_RECORDS:,} records.")
    return records


def _read_all(records: Sequence[object]) -> list[ObjectEvent]:
    events, problem = [], None
    for record in records:
        try:
            events.append(_record(record))
        except NotAnEvent as error:
            problem = problem or error
    if problem:
        problem.events = tuple(events)
        raise problem
    return events


def _other_keys(written: str, key: str) -> tuple[str, ...]:
    """Return what a key in a message may mean besides `key`: `+` as it stands, not or twice encoded, NFC or NFD."""
    return tuple(dict.fromkeys(other for other in _readings(written) if other and other != key))


def _readings(written: str) -> Iterator[str]:
    once = unquote_plus(written)
    for reading in (once, unquote(written), written, unquote_plus(once)):
        for form in (None, "NFC", "NFD"):
            yield unicodedata.normalize(form, reading) if form else reading


def _record(record: object) -> ObjectEvent:
    s3 = _part(_mapping(record), "s3")
    s3_object = _part(s3, "object")
    written = _text(s3_object, "key")
    try:
        key = unquote_plus(written, errors="strict")
    except UnicodeDecodeError:
        # A server that encodes no keys: a `%` is part of the name.
        key = written
    return ObjectEvent(
        kind=_kind(_text(_mapping(record), "eventName").removeprefix("s3:")),
        bucket=_text(_part(s3, "bucket"), "name"),
        key=key,
        version_id=_optional(s3_object, "versionId"),
        etag=_optional(s3_object, "eTag").strip('"'),
        size=_size(s3_object),
        sequencer=_optional(s3_object, "sequencer"),
        other_keys=_other_keys(written, key),
    )


def _kind(name: str) -> Kind:
    if name.startswith("ObjectCreated:"):
        return Kind.CREATED
    if name.startswith(("ObjectRemoved:", "LifecycleExpiration:")):
        return Kind.REMOVED
    return Kind.OTHER


_EVENTBRIDGE = {"Object Created": Kind.CREATED, "Object Deleted": Kind.REMOVED}


def _from_eventbridge(document: Mapping[str, Any]) -> ObjectEvent:
    detail = _part(document, "detail")
    bucket = _text(_part(detail, "bucket"), "name")
    if "object" not in detail:
        return ObjectEvent(Kind.OTHER, bucket)
    s3_object = _part(detail, "object")
    key = _text(s3_object, "key")
    return ObjectEvent(
        kind=_EVENTBRIDGE.get(str(document.get("detail-type")), Kind.OTHER),
        bucket=bucket,
        key=key,
        other_keys=_other_keys(key, key),
        version_id=_optional(s3_object, "version-id"),
        etag=_optional(s3_object, "etag").strip('"'),
        size=_size(s3_object),
        sequencer=_optional(s3_object, "sequencer"),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotAnEvent("A record of the notification is not an object.")
    return value


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    if not isinstance(part, dict):
        raise NotAnEvent(f"The message has no {name!r}.")
    return part


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise NotAnEvent(f"The message has no {name!r}.")
    return value


def _optional(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    # In a bucket without versions the version id is "null".
    return value if isinstance(value, str) and value != "null" else ""


def _size(document: Mapping[str, Any]) -> int | None:
    value = document.get("size")
    return value if isinstance(value, int) and not isinstance(value, bool) else None
