"""schedules.yaml: its text → Schedules, or every mistake with its line. Pure.

schedules:
  - {name: nightly, cron: "0 2 * * *", timezone: Europe/Berlin, manifest: s3://bucket/nightly.yaml,
     overlap: skip, catch_up: last, catch_up_window: 24h, jitter_s: 0, enabled: true}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from pipeline import yaml_text
from pipeline.errors import InvalidSchedules
from pipeline.triggers.cron import Cron, zone
from pipeline.yaml_places import Path
from pipeline.yaml_text import Mistake
from pipeline.yaml_values import shown

MOST_BYTES = 1_000_000
MOST_SCHEDULES = 1000
LONGEST_WINDOW_S = 31 * 86_400
MOST_JITTER_S = 86_400


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
    document = yaml_text.load(text, file=file, most_bytes=MOST_BYTES, text_keys=_TEXT_KEYS)
    found: list[Schedule] = []
    problems = document.problems
    if document.readable:
        problems = problems + document.located(_read(document.value, found))
    if problems:
        raise InvalidSchedules(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return tuple(found)


def seconds(text: str) -> float:
    """A duration like `90s`, `45m`, `24h`, `7d`. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(f"{shown(text)} is no duration: write a number and s, m, h or d, like 24h")
    return float(found[1]) * _UNITS[found[2]]


def _read(value: object, found: list[Schedule]) -> Iterator[Mistake]:
    if not isinstance(value, dict) or "schedules" not in value:
        yield Mistake((), "needs the key 'schedules' with a list; `schedules: []` is none at all")
        return
    for key in value.keys() - {"schedules"}:
        yield Mistake((key,), f"{shown(key)} is not known here: the only key is 'schedules'", at_key=True)
    entries = value["schedules"]
    if not isinstance(entries, list):
        yield Mistake(("schedules",), "must be a list; [] is none at all")
        return
    if len(entries) > MOST_SCHEDULES:
        yield Mistake(("schedules",), f"has {len(entries):,} schedules; at most {MOST_SCHEDULES:,} are taken")
        return
    names: set[str] = set()
    for number, entry in enumerate(entries):
        yield from _read_entry(entry, ("schedules", number), names, found)


def _read_entry(entry: object, path: Path, names: set[str], found: list[Schedule]) -> Iterator[Mistake]:
    if not isinstance(entry, dict):
        yield Mistake(path, "must be a mapping with name, cron and manifest")
        return
    values: dict[str, Any] = {}
    mistakes = [*_missing_and_unknown(entry, path)]
    for key in _READERS.keys() & entry.keys():
        try:
            values[key] = _READERS[key](entry[key])
        except ValueError as error:
            mistakes.append(Mistake((*path, key), str(error)))
    if values.get("name") in names:
        mistakes.append(Mistake((*path, "name"), f"{shown(values['name'])} is the name of two schedules"))
    names.add(values.get("name", ""))
    if mistakes:
        yield from mistakes
    else:
        found.append(Schedule(**values))


def _missing_and_unknown(entry: dict[str, Any], path: Path) -> Iterator[Mistake]:
    for key in _NEEDED:
        if key not in entry:
            yield Mistake(path, f"needs {key!r}")
    for key in entry.keys() - _READERS.keys():
        yield Mistake((*path, key), f"{shown(key)} is not known here: the keys are {', '.join(_READERS)}", at_key=True)


_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return value.strip()


def _name(value: object) -> str:
    text = _text(value)
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{shown(text)} is no name: up to 63 lower-case letters, digits and '-', beginning with a letter or a digit"
        )
    return text


def _cron(value: object) -> str:
    text = _text(value)
    Cron(text, zone("UTC"))
    return text


def _timezone(value: object) -> str:
    return zone(_text(value)).key


def _manifest(value: object) -> str:
    text = _text(value)
    if text.startswith("s3://"):
        bucket, slash, key = text.removeprefix("s3://").partition("/")
        if not (bucket and slash and key) or key.endswith("/"):
            raise ValueError(f"{shown(text)} is no manifest: write s3://bucket/key, or a file")
    elif "://" in text:
        raise ValueError(f"{shown(text)} is no manifest: write s3://bucket/key, or a file relative to this one")
    return text


def _one_of(kind: type[Overlap] | type[CatchUp]) -> Callable[[object], str]:
    def read(value: object) -> str:
        try:
            return kind(str(value))
        except ValueError:
            raise ValueError(f"{shown(value)} must be {' or '.join(kind)}") from None

    return read


def _window(value: object) -> str:
    text = _text(value)
    if not 0 < seconds(text) <= LONGEST_WINDOW_S:
        raise ValueError(f"{shown(text)} must be more than nothing and at most 31d")
    return text


def _jitter(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_JITTER_S:
        raise ValueError(f"{shown(value)} must be a number of seconds from 0 to {MOST_JITTER_S}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} must be true or false")
    return value


_READERS: dict[str, Callable[[object], Any]] = {
    "name": _name,
    "cron": _cron,
    "timezone": _timezone,
    "manifest": _manifest,
    "overlap": _one_of(Overlap),
    "catch_up": _one_of(CatchUp),
    "catch_up_window": _window,
    "jitter_s": _jitter,
    "enabled": _flag,
}
_NEEDED = ("name", "cron", "manifest")
_TEXT_KEYS = frozenset(_READERS) - {"jitter_s", "enabled"}
