"""Manifests, items, outputs and batches as frozen data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Limits:
    """The limits of a batch. `deadline_s`: seconds since it was created or opened again. None: no limit."""

    max_active: int | None = None
    budget_usd: Decimal | None = None
    attempts: int = 3
    """Maximum number of runs for each item."""
    tolerated_failures: str | None = None
    """A number of items ("10") or a share of the batch ("10%"). More failures stop the batch."""
    deadline_s: float | None = None


@dataclass(frozen=True)
class Item:
    """One image and prompt of a manifest."""

    id: str
    image: str | None
    """`http(s)://…`, `s3://bucket/key`, a path as in the manifest, or None for a model without images."""
    prompt: str | None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A manifest that was validated, expanded (matrix and rows are items) and completed with defaults."""

    name: str
    model: str
    output: str | None
    """`s3://bucket/prefix/` with a slash at its end, or None for the default of the service."""
    image_field: str | None
    """The model's field for the image. None: the field that the model's schema names."""
    params: Mapping[str, Any]
    limits: Limits
    notify: str | None
    items: tuple[Item, ...]
    reuse: bool = False
    """Outputs that were bought before for the same model, params, prompt and image are copied, not bought."""


@dataclass(frozen=True)
class Output:
    """One output file on S3. `size` is in bytes."""

    uri: str
    content_type: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Review:
    """A person's review of an item. `mark` is `approved` or `rejected`."""

    mark: str
    note: str = ""


@dataclass(frozen=True)
class ItemRow:
    """One item with its result: a row of `results.jsonl`."""

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
    """The id of the item that this take was made from."""
    takes: tuple[str, ...] = ()
    """The ids of all other takes, if this is a first take. Takes that an earlier version made are missing."""
    first_take: str | None = None
    """The id of the first take, if this is one of its `takes`."""
    found_by: str | None = None
    """How a run was found whose response was lost: "callback" or "task list". None if no response was lost."""
    charged_usd: Decimal = Decimal(0)
    """The part of the cost that runs cost which did not succeed."""
    run: int | None = None
    """The number of its latest run, which can be greater than `attempts`: refused runs have numbers, too."""
    reused_from: str | None = None
    """"batch/item" of the item whose outputs were copied in place of a run. None if the item was run."""
    reuse_key: str | None = None
    """Digest of what was bought, see `batches/reuse_keys.py`; None if it is not known or not bought."""

    @property
    def is_approved(self) -> bool:
        """Whether a person approved the item."""
        return self.review is not None and self.review.mark == "approved"


@dataclass(frozen=True)
class BatchRow:
    """One batch. `counts` is {item state: number of items}, without zeros. Times are aware UTC."""

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
    """The folder of the batch: `s3://bucket/prefix/{batch id}/`."""
    trigger: str
    """What started the batch: `cli`, `api`, `schedule:NAME`, `trigger:NAME`."""
    revision: int = 1
    """Revision of the results. It grows each time an ended batch is reopened."""
    reason: str | None = None
    """Why the batch was stopped or is paused, as text. None if it was not."""
    overcharge: str | None = None
    """The last warning about a charge that was far above the expected price."""
    idle_s: float = 0.0
    """Seconds between an end and the moment at which the batch was opened again, for all its revisions."""
    reopened: datetime | None = None
    """When the batch was opened again after an end, None if it never was."""
    takes: int = 0
    """How many of the items are further takes of other items: those that the first takes list."""
    is_accepted: bool = True
    """Whether its submission was completed: manifest and images are on S3, the items in the ledger."""
    found: Mapping[str, int] = field(default_factory=dict)
    """{how it was found: number of runs} of the runs whose response was lost, without zeros."""
    archived: datetime | None = None
    """When its items left Redis; only S3 has them. None if Redis has them."""
    reused: int = 0
    """How many items have outputs that were bought for another batch."""

    def working_s(self, now: datetime) -> float:
        """Return the seconds from the creation to the end, or to `now`, without the pauses while it had ended."""
        return max(0.0, ((self.finished or now) - self.created).total_seconds() - self.idle_s)
