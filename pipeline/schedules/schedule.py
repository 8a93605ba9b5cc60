"""schedules.yaml: its text → Schedules, or every mistake with its line. Pure.

schedules:
  - {name: nightly, cron: "0 2 * * *", timezone: Europe/Berlin, manifest: s3://bucket/nightly.yaml,
     overlap: skip, catch_up: last, catch_up_window: 24h, jitter_s: 0, enabled: true}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from zoneinfo import ZoneInfo

from pipeline.errors import InvalidSchedules
from pipeline.manifest.yaml import entries
from pipeline.manifest.yaml.decoder import shown
from pipeline.schedules.cron import Cron, zone

MAX_WINDOW_S = 31 * 86_400
MAX_JITTER_S = 86_400


class Overlap(StrEnum):
    """What happens to a tick while a batch of the schedule has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    """one tick waits for it"""
    ALLOW = "allow"


class CatchUp(StrEnum):
    """Which ticks run that were missed while the service was down."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True)
class Schedule:
    """A batch that starts by the clock."""

    name: str
    cron: str
    manifest: str
    """A file, relative to schedules.yaml, or `s3://bucket/key`."""
    timezone: str = "UTC"
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LAST
    catch_up_window: str = "24h"
    """How far back missed ticks are caught up, as it is written."""
    jitter_s: float = 0
    enabled: bool = True

    @cached_property
    def zone(self) -> ZoneInfo:
        """Its time zone."""
        return zone(self.timezone)

    @cached_property
    def clock(self) -> Cron:
        """The meaning of its cron line."""
        return Cron(self.cron, self.zone)

    @cached_property
    def catch_up_window_s(self) -> float:
        """How far back missed ticks are caught up, in seconds."""
        return seconds(self.catch_up_window)


def parse(text: bytes, *, file: str) -> tuple[Schedule, ...]:
    """The schedules of a file called `file`. Raises InvalidSchedules with all its mistakes."""
    found, problems = entries.read(text, file=file, shape=_SHAPE)
    if problems:
        raise InvalidSchedules(problems)
    return tuple(Schedule(**values) for values in found)


def seconds(text: str) -> float:
    """A duration like `90s`, `45m`, `24h`, `7d`. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(f"{shown(text)} is no duration: write a number and s, m, h or d, like 24h")
    return float(found[1]) * _UNITS[found[2]]


_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _cron(value: object) -> str:
    text = entries.text(value)
    Cron(text, zone("UTC"))
    return text


def _timezone(value: object) -> str:
    return zone(entries.text(value)).key


def _manifest(value: object) -> str:
    text = entries.text(value)
    if text.startswith("s3://"):
        bucket, slash, key = text.removeprefix("s3://").partition("/")
        if not (bucket and slash and key) or key.endswith("/"):
            raise ValueError(f"{shown(text)} is no manifest: write s3://bucket/key, or a file")
    elif "://" in text:
        raise ValueError(f"{shown(text)} is no manifest: write s3://bucket/key, or a file relative to this one")
    return text


def _window(value: object) -> str:
    text = entries.text(value)
    if not 0 < seconds(text) <= MAX_WINDOW_S:
        raise ValueError(f"{shown(text)} must be more than nothing and at most 31d")
    return text


def _pending_key(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} must be true or false")
    return value


_READERS: dict[str, entries.Reader] = {
    "name": entries.name,
    "cron": _cron,
    "timezone": _timezone,
    "manifest": _manifest,
    "overlap": entries.one_of(Overlap),
    "catch_up": entries.one_of(CatchUp),
    "catch_up_window": _window,
    "jitter_s": entries.number_of_seconds(0, MAX_JITTER_S),
    "enabled": _pending_key,
}
_SHAPE = entries.Shape(
    key="schedules",
    readers=_READERS,
    needed=("name", "cron", "manifest"),
    text_keys=frozenset(_READERS) - {"jitter_s", "enabled"},
)
