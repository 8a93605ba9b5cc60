"""The nouns of the domain, as frozen data. Pure: no client library, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What a batch may use. `deadline_s` is in seconds from the batch's creation."""

    max_active: int | None = None
    budget_usd: Decimal | None = None
    attempts: int = 3
    tolerated_failures: str | None = None
    """A number of items ("10") or a share of the batch ("10%"); more failures than that stop it."""
    deadline_s: float | None = None


@dataclass(frozen=True)
class Item:
    """One picture and prompt, as the manifest has it."""

    id: str
    image: str | None
    """`http(s)://…`, `s3://bucket/key`, a path as written in the manifest, or None for a model without images."""
    prompt: str | None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A batch as somebody wants it: validated, expanded (matrix and rows are items), defaults filled in."""

    name: str
    model: str
    output: str | None
    """`s3://bucket/prefix/` with its closing slash, or None for the service's own."""
    image_field: str
    params: Mapping[str, Any]
    limits: Limits
    notify: str | None
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Output:
    """One file of an item on S3. `size` is in bytes."""

    uri: str
    content_type: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Review:
    """A person's verdict on an item. `mark` is `approved` or `rejected`."""

    mark: str
    note: str = ""


@dataclass(frozen=True)
class ItemRow:
    """One item with what became of it: a row of `results.jsonl`. Times are aware UTC."""

    id: str
    status: str
    image: str | None
    prompt: str | None
    params: Mapping[str, Any] = field(default_factory=dict)
    task_id: str | None = None
    attempts: int = 0
    cost_usd: Decimal = Decimal(0)
    elapsed_s: Decimal | None = None
    error: str | None = None
    outputs: tuple[Output, ...] = ()
    review: Review | None = None
    take_of: str | None = None
    """The item of which this is another take, with another prompt."""


@dataclass(frozen=True)
class BatchRow:
    """One batch with its figures. `counts` is {item state: number}, only states that occur."""

    id: str
    name: str
    model: str
    status: str
    counts: Mapping[str, int]
    total: int
    cost_usd: Decimal
    created: datetime
    finished: datetime | None
    output: str
    """`s3://bucket/prefix/{batch id}/`: the folder of this batch."""
    trigger: str
    """What started it: `cli`, `api`, `schedule:NAME`, `trigger:NAME`."""
    revision: int = 1
    reason: str | None = None
    """Why it was stopped or does not go on, in words; None when all is well."""
