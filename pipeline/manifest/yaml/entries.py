"""A YAML file that is one list of named entries: what schedules.yaml and triggers.yaml have in common. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.errors import Problem
from pipeline.manifest.yaml import document as yaml_document
from pipeline.manifest.yaml.decoder import shown
from pipeline.manifest.yaml.document import Mistake
from pipeline.manifest.yaml.positions import Path

MAX_BYTES = 1_000_000
MAX_ENTRIES = 1000

Reader = Callable[[object], Any]
"""Makes of a value as it is written what it means. Raises ValueError, saying what would be right."""
Entry = Mapping[str, Any]
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Shape:
    """What such a file looks like. `key` is the only one at its top, the plural of what an entry is."""

    key: str
    readers: Mapping[str, Reader]
    needed: tuple[str, ...]
    text_keys: frozenset[str]
    """Keys whose values are text as written."""
    free_keys: frozenset[str] = frozenset()
    """Keys under which everything means what it looks like."""
    rules: Callable[[Entry, Entry, Path], Iterable[Mistake]] = lambda entry, values, path: ()
    """Mistakes of an entry as a whole: it as it is written, those of its values that are right, its path."""


def read(text: bytes, *, file: str, shape: Shape) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The values of each entry without a mistake, and all mistakes with their places."""
    document = yaml_document.load(
        text, file=file, max_bytes=MAX_BYTES, text_keys=shape.text_keys, free_keys=shape.free_keys
    )
    if not document.readable:
        return [], document.problems
    found: list[dict[str, Any]] = []
    problems = document.problems + document.located(_list(document.value, shape, found))
    return found, sorted(problems, key=lambda problem: (problem.line, problem.column))


def _list(value: object, shape: Shape, found: list[dict[str, Any]]) -> Iterator[Mistake]:
    key = shape.key
    if not isinstance(value, dict) or key not in value:
        yield Mistake((), f"needs the key '{key}' with a list; `{key}: []` is none at all")
        return
    for other in value.keys() - {key}:
        yield Mistake((other,), f"{shown(other)} is not known here: the only key is '{key}'", at_key=True)
    entries = value[key]
    if not isinstance(entries, list):
        yield Mistake((key,), "must be a list; [] is none at all")
        return
    if len(entries) > MAX_ENTRIES:
        yield Mistake((key,), f"has {len(entries):,} {key}; at most {MAX_ENTRIES:,} are taken")
        return
    names: set[str] = set()
    for number, entry in enumerate(entries):
        yield from _entry(entry, (key, number), shape, names, found)


def _entry(entry: object, path: Path, shape: Shape, names: set[str], found: list[dict[str, Any]]) -> Iterator[Mistake]:
    if not isinstance(entry, dict):
        yield Mistake(path, f"must be a mapping with {', '.join(shape.needed[:-1])} and {shape.needed[-1]}")
        return
    values: dict[str, Any] = {}
    problems_found = [Mistake(path, f"needs {key!r}") for key in shape.needed if key not in entry]
    for key, value in entry.items():
        if key not in shape.readers:
            message = f"{shown(key)} is not known here: the keys are {', '.join(shape.readers)}"
            problems_found.append(Mistake((*path, key), message, at_key=True))
            continue
        try:
            values[key] = shape.readers[key](value)
        except ValueError as error:
            problems_found.append(Mistake((*path, key), str(error)))
    if values.get("name") in names:
        problems_found.append(Mistake((*path, "name"), f"{shown(values['name'])} is the name of two {shape.key}"))
    names.add(values.get("name", ""))
    problems_found += shape.rules(entry, values, path)
    if problems_found:
        yield from problems_found
    else:
        found.append(values)


def text(value: object) -> str:
    """Reads text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return value.strip()


def name(value: object) -> str:
    """Reads a name, which may be part of a batch's id."""
    found = text(value)
    if not _NAME.fullmatch(found):
        raise ValueError(
            f"{shown(found)} is no name: 1 to 63 lower-case letters, digits and '-', beginning with no '-'"
        )
    return found


def as_written(value: object) -> object:
    """Reads what is looked at with the entry as a whole."""
    return value


def one_of(kind: type[StrEnum]) -> Reader:
    """Reads one of a few words."""

    def read_word(value: object) -> StrEnum:
        try:
            return kind(str(value))
        except ValueError:
            raise ValueError(f"{shown(value)} must be {', '.join(list(kind)[:-1])} or {list(kind)[-1]}") from None

    return read_word


def number_of_seconds(minimum: float, most: float) -> Reader:
    """Reads a number of seconds."""

    def read_seconds(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= most:
            raise ValueError(f"{shown(value)} must be a number of seconds from {minimum} to {most}")
        return float(value)

    return read_seconds
