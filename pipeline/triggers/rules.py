"""triggers.yaml: its text → Rules, or every mistake with its line. Pure.

triggers:
  - {name: inbox, source: listing, watch: s3://bucket/inbox/, start: manifest, every_s: 10}
  - {name: queue, source: sqs, queue_url: "https://…", watch: s3://bucket/inbox/, start: manifest}
  - {name: faces, source: push, watch: s3://bucket/faces/, start: images, prompts: ["…"], output: s3://bucket/out/,
     gather_s: 30}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from pipeline import yaml_text
from pipeline.errors import InvalidTriggers
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.yaml_places import Path
from pipeline.yaml_text import Mistake
from pipeline.yaml_values import shown

MOST_BYTES = 1_000_000
MOST_RULES = 1000
MOST_PROMPTS = 100
SHORTEST_S = 1
LONGEST_S = 3600
_TEXT_KEYS = frozenset({"name", "watch", "output", "prompts", "queue_url", "topic_arn"})


def parse(text: bytes, *, file: str) -> tuple[Rule, ...]:
    """The rules of a file called `file`. Raises InvalidTriggers with all its mistakes."""
    document = yaml_text.load(text, file=file, most_bytes=MOST_BYTES, text_keys=_TEXT_KEYS)
    found: list[Rule] = []
    problems = document.problems
    if document.readable:
        problems = problems + document.located(_read(document.value, found))
    if problems:
        raise InvalidTriggers(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return tuple(found)


def _read(value: object, found: list[Rule]) -> Iterator[Mistake]:
    if not isinstance(value, dict) or "triggers" not in value:
        yield Mistake((), "needs the key 'triggers' with a list; `triggers: []` is none at all")
        return
    for key in value.keys() - {"triggers"}:
        yield Mistake((key,), f"{shown(key)} is not known here: the only key is 'triggers'", at_key=True)
    entries = value["triggers"]
    if not isinstance(entries, list):
        yield Mistake(("triggers",), "must be a list; [] is none at all")
        return
    if len(entries) > MOST_RULES:
        yield Mistake(("triggers",), f"has {len(entries):,} triggers; at most {MOST_RULES:,} are taken")
        return
    names: set[str] = set()
    for number, entry in enumerate(entries):
        yield from _read_entry(entry, ("triggers", number), names, found)


def _read_entry(entry: object, path: Path, names: set[str], found: list[Rule]) -> Iterator[Mistake]:
    if not isinstance(entry, dict):
        yield Mistake(path, "must be a mapping with name, source, watch and start")
        return
    values: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for key in _READERS.keys() & entry.keys():
        try:
            values[key] = _READERS[key](entry[key])
        except ValueError as error:
            mistakes.append(Mistake((*path, key), str(error)))
    mistakes += _missing_and_unknown(entry, values, path)
    if values.get("name") in names:
        mistakes.append(Mistake((*path, "name"), f"{shown(values['name'])} is the name of two triggers"))
    names.add(values.get("name", ""))
    if mistakes:
        yield from mistakes
    else:
        found.append(Rule(**values))


def _missing_and_unknown(entry: Mapping[str, Any], values: Mapping[str, Any], path: Path) -> Iterator[Mistake]:
    source, start = values.get("source"), values.get("start")
    needed = [*_NEEDED, *(_NEEDED_BY.get(source, ())), *(_NEEDED_BY.get(start, ()))]
    for key in needed:
        if key not in entry:
            why = "" if key in _NEEDED else f": {_why(key, source, start)}"
            yield Mistake(path, f"needs {shown(key)}{why}")
    for key in entry:
        owner = _ONLY_FOR.get(key)
        if key not in _READERS:
            message = f"{shown(key)} is not known here: the keys are {', '.join(_READERS)}"
            yield Mistake((*path, key), message, at_key=True)
        elif owner and owner[0] in values and values[owner[0]] != owner[1]:
            yield Mistake((*path, key), f"{shown(key)} means something with `{owner[0]}: {owner[1]}` only", at_key=True)


def _why(key: str, source: object, start: object) -> str:
    return f"`source: {source}` reads it" if key in _NEEDED_BY.get(source, ()) else f"`start: {start}` runs them"


_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]+:[A-Za-z0-9_-]{1,256}(\.fifo)?")


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


def _one_of(kind: type[StrEnum]) -> Callable[[object], StrEnum]:
    def read(value: object) -> StrEnum:
        try:
            return kind(str(value))
        except ValueError:
            raise ValueError(f"{shown(value)} must be {', '.join(list(kind)[:-1])} or {list(kind)[-1]}") from None

    return read


def _place(value: object) -> str:
    text = _text(value)
    if not text.startswith("s3://") or not _BUCKET.fullmatch(text.removeprefix("s3://").partition("/")[0]):
        raise ValueError(f"{shown(text)} must look like s3://bucket/prefix/")
    return text if text.endswith("/") else f"{text}/"


def _url(value: object) -> str:
    text = _text(value)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{shown(text)} must look like https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE")
    return text


def _topic(value: object) -> str:
    text = _text(value)
    if not _TOPIC.fullmatch(text):
        raise ValueError(f"{shown(text)} must look like arn:aws:sns:REGION:ACCOUNT:TOPIC")
    return text


def _prompts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one.strip() for one in value):
        raise ValueError("must be a list of prompts, none of them empty")
    if len(value) > MOST_PROMPTS:
        raise ValueError(f"has {len(value)} prompts; at most {MOST_PROMPTS} are taken")
    return tuple(value)


def _seconds(least: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= LONGEST_S:
            raise ValueError(f"{shown(value)} must be a number of seconds from {least} to {LONGEST_S}")
        return float(value)

    return read


_READERS: dict[str, Callable[[object], Any]] = {
    "name": _name,
    "source": _one_of(Source),
    "watch": _place,
    "start": _one_of(Start),
    "every_s": _seconds(SHORTEST_S),
    "queue_url": _url,
    "topic_arn": _topic,
    "prompts": _prompts,
    "output": _place,
    "gather_s": _seconds(0),
}
_NEEDED = ("name", "source", "watch", "start")
_NEEDED_BY: dict[object, tuple[str, ...]] = {Source.SQS: ("queue_url",), Start.IMAGES: ("prompts",)}
_ONLY_FOR: dict[str, tuple[str, StrEnum]] = {
    "every_s": ("source", Source.LISTING),
    "queue_url": ("source", Source.SQS),
    "topic_arn": ("source", Source.PUSH),
    "prompts": ("start", Start.IMAGES),
    "output": ("start", Start.IMAGES),
    "gather_s": ("start", Start.IMAGES),
}
