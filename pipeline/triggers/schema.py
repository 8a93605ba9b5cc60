"""triggers.yaml as pydantic models: its text becomes Rules, or all its problems with their lines. Pure.

triggers:
  - {name: inbox, source: listing, watch: s3://bucket/inbox/, start: manifest, every_s: 10,
     limits: {budget_usd: "50.00"}, batches_per_day: 100}
  - {name: queue, source: sqs, queue_url: "https://…", watch: s3://bucket/inbox/, start: manifest}
  - {name: faces, source: push, watch: s3://bucket/faces/, start: images, prompts: ["…"], output: s3://bucket/out/,
     gather_s: 30, limits: {budget_usd: "5.00"}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from pipeline.domain.s3_names import is_prefix_uri
from pipeline.errors import InvalidTriggers
from pipeline.manifest.entry_list import EntryList, read_entries
from pipeline.manifest.schema import (
    FREE_KEYS,
    MAX_ATTEMPTS,
    MODEL_CONFIG,
    TEXT_KEYS,
    ImageField,
    LimitsEntry,
    Model,
    Name,
    Notify,
    Output,
    Params,
    Prompt,
    Reuse,
    Whole,
)
from pipeline.manifest.yaml.decoder import shown
from pipeline.manifest.yaml.document import PathProblem
from pipeline.manifest.yaml.positions import Path
from pipeline.triggers.rule import Dedupe, Rule, Source, Start

MAX_PROMPTS = 100
MIN_INTERVAL_S = 1
MAX_INTERVAL_S = 3600
MAX_BATCHES_PER_DAY = 100_000
_TOPIC_ARN = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]+:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_MANIFEST_KEYS = frozenset({"model", "image_field", "params", "limits", "notify", "reuse"})
"""Keys of a manifest that a rule for images can have."""
_REQUIRED_WITH: dict[Source | Start, str] = {Source.SQS: "queue_url", Start.IMAGES: "prompts"}
_ALLOWED_WITH: dict[str, Source | Start] = {
    "every_s": Source.LISTING,
    "queue_url": Source.SQS,
    "topic_arn": Source.PUSH,
    **dict.fromkeys(("prompts", "output", "gather_s", *sorted(_MANIFEST_KEYS - {"limits"})), Start.IMAGES),
}


def _validate_prefix(text: str) -> str:
    uri = text if text.endswith("/") else f"{text}/"
    if not is_prefix_uri(uri):
        raise ValueError(f"must be s3://bucket/prefix/, not {shown(text)}")
    return uri


def _validate_queue_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError(f"must be https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE, not {shown(text)}")
    return text


def _validate_topic_arn(text: str) -> str:
    if not _TOPIC_ARN.fullmatch(text):
        raise ValueError(f"must be arn:aws:sns:REGION:ACCOUNT:TOPIC, not {shown(text)}")
    return text


def _validate_prompt(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Prefix = Annotated[_Text, AfterValidator(_validate_prefix)]
_Prompts = Annotated[
    list[Annotated[Prompt, AfterValidator(_validate_prompt)]], Field(min_length=1, max_length=MAX_PROMPTS)
]


class TriggerEntry(BaseModel):
    """One of `triggers:`. Which keys belong together is in `_check_keys`."""

    model_config = MODEL_CONFIG

    name: Name
    source: Source
    watch: _Prefix
    start: Start
    every_s: Annotated[float, Field(strict=True, ge=MIN_INTERVAL_S, le=MAX_INTERVAL_S)] = Rule.every_s
    queue_url: Annotated[_Text, AfterValidator(_validate_queue_url)] = Rule.queue_url
    topic_arn: Annotated[_Text, AfterValidator(_validate_topic_arn)] = Rule.topic_arn
    prompts: _Prompts = []
    output: Output | None = None
    gather_s: Annotated[float, Field(strict=True, ge=0, le=MAX_INTERVAL_S)] = Rule.gather_s
    model: Model | None = None
    image_field: ImageField | None = None
    params: Params | None = None
    limits: LimitsEntry | None = None
    batches_per_day: Annotated[Whole, Field(ge=1, le=MAX_BATCHES_PER_DAY)] = Rule.batches_per_day
    dedupe: Dedupe = Rule.dedupe
    notify: Notify | None = None
    reuse: Reuse | None = None


class TriggerFile(BaseModel):
    """The whole file. Its entries are validated one by one, as TriggerEntry."""

    model_config = MODEL_CONFIG

    triggers: EntryList


def parse_triggers(text: bytes, *, file: str) -> tuple[Rule, ...]:
    """Return the rules of a file that messages call `file`. Raises InvalidTriggers with all its problems."""
    entries, problems = read_entries(
        text,
        file=file,
        file_model=TriggerFile,
        entry_model=TriggerEntry,
        text_keys=TEXT_KEYS | {"watch", "queue_url", "topic_arn"},
        free_keys=FREE_KEYS,
        check=_check_keys,
    )
    if problems:
        raise InvalidTriggers(problems)
    return tuple(map(_rule, entries))


def _rule(entry: TriggerEntry) -> Rule:
    values = {name: getattr(entry, name) for name in TriggerEntry.model_fields if name not in _MANIFEST_KEYS}
    settings = entry.model_dump_json(include=set(_MANIFEST_KEYS), exclude_none=True)
    # Without a number of attempts, the rule allows as many as a manifest can have.
    limits = entry.limits.as_limits(attempts=MAX_ATTEMPTS) if entry.limits else None
    return Rule(**{**values, "prompts": tuple(entry.prompts)}, manifest_settings=settings, limits=limits)


def _check_keys(entry: Mapping[str, Any], path: Path) -> Iterator[PathProblem]:
    """Yield the keys that are missing, or without effect, with the entry's source and start; and a loop."""
    watch, output = entry.get("watch"), entry.get("output")
    if isinstance(watch, str) and isinstance(output, str) and watch.strip().rstrip("/") == output.strip().rstrip("/"):
        message = "output must be another prefix than watch: objects in the output folder start no batch"
        yield PathProblem((*path, "output"), message)
    for choice, key in _REQUIRED_WITH.items():
        owner = type(choice).__name__.lower()
        if entry.get(owner) == choice and key not in entry:
            yield PathProblem(path, f"{key} is missing: `{owner}: {choice}` requires it")
    for key, choice in _ALLOWED_WITH.items():
        owner = type(choice).__name__.lower()
        others = [other for other in type(choice) if other != choice]
        if key in entry and entry.get(owner) in others:
            yield PathProblem((*path, key), f"{key} has an effect only with `{owner}: {choice}`", at_key=True)
