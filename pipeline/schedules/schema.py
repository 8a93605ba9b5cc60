"""schedules.yaml as pydantic models: its text becomes Schedules, or all its problems with their lines. Pure.

schedules:
  - {name: nightly, cron: "0 2 * * *", timezone: Europe/Berlin, manifest: s3://bucket/nightly.yaml,
     overlap: skip, catch_up: last, catch_up_window: 24h, jitter_s: 0, enabled: true}
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from pipeline.domain.durations import parse_duration
from pipeline.domain.s3_names import is_object_uri, lower_scheme
from pipeline.errors import InvalidSchedules
from pipeline.manifest.entry_list import EntryList, read_entries
from pipeline.manifest.schema import MODEL_CONFIG, Name
from pipeline.manifest.yaml.decoder import shown
from pipeline.schedules.cron_expression import Cron, zone
from pipeline.schedules.schedule import CatchUp, Overlap, Schedule

MAX_WINDOW_S = 31 * 86_400
MAX_JITTER_S = 86_400
_TEXT_KEYS = frozenset({"name", "cron", "manifest", "timezone", "overlap", "catch_up", "catch_up_window"})


def _validate_cron(text: str) -> str:
    Cron(text, zone("UTC"))
    return text


def _validate_timezone(text: str) -> str:
    return zone(text).key


def _validate_manifest(text: str) -> str:
    text = lower_scheme(text)
    if "://" in text and (not is_object_uri(text) or text.endswith("/")):
        raise ValueError(f"must be s3://bucket/key or a file relative to this one, not {shown(text)}")
    return text


def _validate_window(text: str) -> str:
    seconds = parse_duration(text)
    if seconds is None or not 0 < seconds <= MAX_WINDOW_S:
        raise ValueError(f"must be a duration such as 90s, 45m, 24h or 7d, at most 31d, not {shown(text)}")
    return text


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class ScheduleEntry(BaseModel):
    """One of `schedules:`. The defaults are those of Schedule."""

    model_config = MODEL_CONFIG

    name: Name
    cron: Annotated[_Text, AfterValidator(_validate_cron)]
    manifest: Annotated[_Text, AfterValidator(_validate_manifest)]
    timezone: Annotated[_Text, AfterValidator(_validate_timezone)] = Schedule.timezone
    overlap: Overlap = Schedule.overlap
    catch_up: CatchUp = Schedule.catch_up
    catch_up_window: Annotated[_Text, AfterValidator(_validate_window)] = Schedule.catch_up_window
    jitter_s: Annotated[float, Field(strict=True, ge=0, le=MAX_JITTER_S)] = Schedule.jitter_s
    enabled: Annotated[bool, Field(strict=True)] = Schedule.enabled


class ScheduleFile(BaseModel):
    """The whole file. Its entries are validated one by one, as ScheduleEntry."""

    model_config = MODEL_CONFIG

    schedules: EntryList


def parse_schedules(text: bytes, *, file: str) -> tuple[Schedule, ...]:
    """Return the schedules of a file that messages call `file`. Raises InvalidSchedules with all its problems."""
    entries, problems = read_entries(
        text, file=file, file_model=ScheduleFile, entry_model=ScheduleEntry, text_keys=_TEXT_KEYS
    )
    if problems:
        raise InvalidSchedules(problems)
    return tuple(Schedule(**entry.model_dump()) for entry in entries)
