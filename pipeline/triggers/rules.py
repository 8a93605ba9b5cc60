"""triggers.yaml: its text → Rules, or every mistake with its line. Pure.

triggers:
  - {name: inbox, source: listing, watch: s3://bucket/inbox/, start: manifest, every_s: 10}
  - {name: queue, source: sqs, queue_url: "https://…", watch: s3://bucket/inbox/, start: manifest}
  - {name: faces, source: push, watch: s3://bucket/faces/, start: images, prompts: ["…"], output: s3://bucket/out/,
     gather_s: 30, limits: {budget_usd: "5.00"}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from pipeline.errors import InvalidTriggers
from pipeline.manifest.messages import problems_of
from pipeline.manifest.schema import FREE_KEYS, TEXT_KEYS, ManifestEntry
from pipeline.manifest.values import DEFAULT_IMAGE_FIELD, MAX_PROMPT, ValidationContext
from pipeline.manifest.yaml import entries
from pipeline.manifest.yaml.decoder import shown
from pipeline.manifest.yaml.document import Mistake
from pipeline.manifest.yaml.positions import Path
from pipeline.triggers.rule import Rule, Source, Start

MAX_PROMPTS = 100
HEAD = ("model", "image_field", "params", "limits", "notify")
"""Keys of a manifest that a rule for images may have."""
MIN_S = 1
MAX_S = 3600


def parse(text: bytes, *, file: str) -> tuple[Rule, ...]:
    """The rules of a file called `file`. Raises InvalidTriggers with all its mistakes."""
    found, problems = entries.read(text, file=file, shape=_SHAPE)
    if problems:
        raise InvalidTriggers(problems)
    return tuple(_rule(values) for values in found)


def _rule(values: dict[str, Any]) -> Rule:
    head = {key: values.pop(key) for key in HEAD if key in values}
    return Rule(**values, head=json.dumps(head))


def _whole_entry(entry: entries.Entry, values: entries.Entry, path: Path) -> Iterator[Mistake]:
    """What is needed with one source or start, and means nothing with another."""
    source, start = values.get("source"), values.get("start")
    for key in (*_NEEDED_BY.get(source, ()), *_NEEDED_BY.get(start, ())):
        if key not in entry:
            yield Mistake(path, f"needs {shown(key)}: {_why(key, source, start)}")
    for key in entry:
        owner = _ONLY_FOR.get(key)
        if owner and owner[0] in values and values[owner[0]] != owner[1]:
            yield Mistake((*path, key), f"{shown(key)} means something with `{owner[0]}: {owner[1]}` only", at_key=True)
    yield from _head(entry, path)


def _head(entry: entries.Entry, path: Path) -> Iterator[Mistake]:
    """What a manifest could not say."""
    head = {key: entry[key] for key in HEAD if key in entry}
    image_field = head.get("image_field")
    around = ValidationContext(image_field if isinstance(image_field, str) else DEFAULT_IMAGE_FIELD, None)
    try:
        ManifestEntry.model_validate({"version": 1, "name": "images", **head}, context=around)
    except ValidationError as error:
        yield from problems_of(error, ManifestEntry, at=path)


def _why(key: str, source: object, start: object) -> str:
    return f"`source: {source}` reads it" if key in _NEEDED_BY.get(source, ()) else f"`start: {start}` runs them"


_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]+:[A-Za-z0-9_-]{1,256}(\.fifo)?")


def _place(value: object) -> str:
    text = entries.text(value)
    if not text.startswith("s3://") or not _BUCKET.fullmatch(text.removeprefix("s3://").partition("/")[0]):
        raise ValueError(f"{shown(text)} must look like s3://bucket/prefix/")
    return text if text.endswith("/") else f"{text}/"


def _url(value: object) -> str:
    text = entries.text(value)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{shown(text)} must look like https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE")
    return text


def _topic(value: object) -> str:
    text = entries.text(value)
    if not _TOPIC.fullmatch(text):
        raise ValueError(f"{shown(text)} must look like arn:aws:sns:REGION:ACCOUNT:TOPIC")
    return text


def _prompts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one.strip() for one in value):
        raise ValueError("must be a list of prompts, none of them empty")
    if len(value) > MAX_PROMPTS:
        raise ValueError(f"has {len(value)} prompts; at most {MAX_PROMPTS} are taken")
    if any(len(prompt) > MAX_PROMPT for prompt in value):
        raise ValueError(f"has a prompt of more than {MAX_PROMPT:,} characters")
    return tuple(value)


_READERS: dict[str, entries.Reader] = {
    "name": entries.name,
    "source": entries.one_of(Source),
    "watch": _place,
    "start": entries.one_of(Start),
    "every_s": entries.number_of_seconds(MIN_S, MAX_S),
    "queue_url": _url,
    "topic_arn": _topic,
    "prompts": _prompts,
    "output": _place,
    "gather_s": entries.number_of_seconds(0, MAX_S),
    **dict.fromkeys(HEAD, entries.as_written),
}
_NEEDED_BY: dict[object, tuple[str, ...]] = {Source.SQS: ("queue_url",), Start.IMAGES: ("prompts",)}
_ONLY_FOR: dict[str, tuple[str, StrEnum]] = {
    "every_s": ("source", Source.LISTING),
    "queue_url": ("source", Source.SQS),
    "topic_arn": ("source", Source.PUSH),
    "prompts": ("start", Start.IMAGES),
    "output": ("start", Start.IMAGES),
    "gather_s": ("start", Start.IMAGES),
    **dict.fromkeys(HEAD, ("start", Start.IMAGES)),
}
_SHAPE = entries.Shape(
    key="triggers",
    readers=_READERS,
    needed=("name", "source", "watch", "start"),
    text_keys=TEXT_KEYS | {"watch", "queue_url", "topic_arn"},
    free_keys=FREE_KEYS,
    rules=_whole_entry,
)
