"""JSON documents of batches, items and the account.

Each has one model: the CLI prints it with `--json`, the API returns it, /openapi.json describes it. Money is
decimal text, times are RFC 3339 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from pipeline.domain.failure_groups import FailureGroup, failure_groups
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.results import item_document, money, results_uri, timestamp
from pipeline.domain.states import BatchState, ItemState
from pipeline.ledger.records import AccountRow

Money = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$", description="US dollars as decimal text.", examples=["0.27"])]
Uri = Annotated[str, Field(examples=["s3://bucket/prefix/la-street/items/woman-1/0.mp4"])]
Size = Annotated[int, Field(ge=0, description="Size in bytes.")]
Digest = Annotated[str, Field(description="SHA-256 in hex.")]


class Document(BaseModel):
    """A JSON document."""

    model_config = ConfigDict(extra="forbid")

    def as_json(self) -> dict[str, Any]:
        """Return the document as JSON values, without the optional fields that are not set."""
        return self.model_dump(mode="json", exclude_unset=True)


class Failures(Document):
    """The failed items with one cause."""

    cause: str | None = Field(
        description="What the errors of the items have in common, without addresses, names and measured numbers; "
        "null if it was not recorded."
    )
    count: int

    @classmethod
    def of(cls, group: FailureGroup) -> Failures:
        """Return the document of a group."""
        return cls(cause=group.cause, count=group.count)


class BatchStatus(Document):
    """The status of one batch."""

    id: str
    name: str
    status: BatchState
    counts: dict[ItemState, int] = Field(description="Items by state; only states that occur.")
    total: int
    cost_usd: Money
    created: datetime
    finished: datetime | None
    output: Uri = Field(description="Folder of the batch.")
    accepted: bool | None = Field(
        None,
        description="False if its submission was not completed: nothing was started, there are no results.",
    )
    found: dict[str, int] | None = Field(
        None, description="Runs whose response was lost and that were found, by how: `callback`, `task list`."
    )
    reused: int | None = Field(None, description="Items whose outputs were copied in place of a run.")
    overcharge: str | None = Field(None, description="The last warning about a charge far above the expected price.")
    waits_until: datetime | None = Field(
        None, description="Of one batch: when its items start that wait because of the ceiling of the day."
    )
    archived: datetime | None = Field(
        None, description="When the items of the batch left Redis. Lists of items are read from S3 since then."
    )
    failures: list[Failures] | None = Field(
        None, description="Of one batch: its failed items by cause, the most frequent cause first; only if some failed."
    )

    @field_serializer("created", "finished", "waits_until", "archived")
    def _time(self, when: datetime | None) -> str | None:
        return timestamp(when)

    @classmethod
    def of(
        cls, row: BatchRow, account: AccountRow | None = None, causes: Mapping[str, int] | None = None
    ) -> BatchStatus:
        """Return the status of a row. `account`: to show what its items wait for. `causes`: of its failures."""
        return BatchStatus.model_validate(_status_fields(row, account, causes))


class Batch(BatchStatus):
    """One batch."""

    model: str
    trigger: str = Field(description="What started the batch: `cli`, `api`, `schedule:NAME`, `trigger:NAME`.")
    revision: int
    reason: str | None = Field(description="Why the batch was stopped or is paused.")
    results: Uri | None = Field(
        description="URI of results.json; null until the batch has ended, and if nothing of it was started."
    )

    @classmethod
    def of(cls, row: BatchRow, account: AccountRow | None = None, causes: Mapping[str, int] | None = None) -> Batch:
        """Return the document of a row. `account`: to show what its items wait for. `causes`: of its failures."""
        return cls.model_validate(
            {
                **_status_fields(row, account, causes),
                "model": row.model,
                "trigger": row.trigger,
                "revision": row.revision,
                "reason": row.reason,
                "results": results_uri(row) if row.finished and row.is_accepted else None,
            }
        )


def _status_fields(row: BatchRow, account: AccountRow | None, causes: Mapping[str, int] | None) -> dict[str, Any]:
    is_waiting = row.status == BatchState.RUNNING and row.counts.get(ItemState.PENDING)
    waits_until = account.waits_until if account and is_waiting else None
    groups = [] if causes is None else failure_groups(causes, row.counts.get(ItemState.FAILED, 0))
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "counts": dict(row.counts),
        "total": row.total,
        "cost_usd": money(row.cost_usd),
        "created": row.created,
        "finished": row.finished,
        "output": row.output,
        **({} if row.is_accepted else {"accepted": False}),
        **({"found": dict(row.found)} if row.found else {}),
        **({"reused": row.reused} if row.reused else {}),
        **({"overcharge": row.overcharge} if row.overcharge else {}),
        **({"waits_until": waits_until} if waits_until else {}),
        **({"archived": row.archived} if row.archived else {}),
        **({"failures": [Failures.of(group) for group in groups]} if groups else {}),
    }


class OutputFile(Document):
    """One output file of an item."""

    uri: Uri
    content_type: str
    size: Size
    sha256: Digest


class ItemReview(Document):
    """What a person decided about an item."""

    mark: Literal["approved", "rejected"]
    note: str


class Item(Document):
    """One item: a line of results.jsonl."""

    id: str
    status: ItemState
    image: str | None
    prompt: str | None
    params: dict[str, Any]
    task_id: str | None
    attempts: int
    cost_usd: Money
    elapsed_s: float | None
    error: str | None
    outputs: list[OutputFile]
    review: ItemReview | None = None
    take_of: str | None = Field(None, description="The item of which this item is another take.")
    found_by: str | None = Field(
        None, description="How its run was found after the response was lost: `callback` or `task list`."
    )
    charged_usd: Money | None = Field(
        None, description="The part of `cost_usd` that runs cost which did not succeed; only if it is not 0."
    )
    run: int | None = Field(None, description="The number of its latest run, if refused runs make it differ.")
    reused_from: str | None = Field(
        None, description="`batch/item` whose outputs were copied in place of a run: the item cost nothing."
    )
    reuse_key: str | None = Field(
        None,
        description="Digest of model, params, prompt and image. Items with the same one can share outputs.",
    )

    @classmethod
    def of(cls, row: ItemRow) -> Item:
        """Return the document of a row."""
        return cls.model_validate(item_document(row))


class Account(Document):
    """The account at the vendor."""

    active: int = Field(description="Runs that are active at the vendor.")
    concurrency_limit: int | None = Field(description="Maximum number of active runs; null if no limit is known.")
    paused_reason: str | None = Field(description="Why nothing is submitted; null if the account is not paused.")
    backoff_until: datetime | None = Field(description="When submission continues; null without a backoff.")
    backoff_reason: str | None = Field(description="The vendor's refusal that caused the backoff.")
    day_limit_usd: Money | None = Field(
        description="Ceiling of a UTC day, PIPELINE_MAX_DAY_USD; null if there is none."
    )
    day_spend_usd: Money = Field(description="What the vendor charged on this UTC day.")
    waits_until: datetime | None = Field(
        description="When runs start that wait because of the ceiling of the day; null if none waits."
    )

    @field_serializer("backoff_until", "waits_until")
    def _time(self, when: datetime | None) -> str | None:
        return timestamp(when)

    @classmethod
    def of(cls, row: AccountRow) -> Account:
        """Return the document of a row."""
        return cls(
            active=row.active,
            concurrency_limit=row.concurrency_limit,
            paused_reason=row.paused_reason,
            backoff_until=row.backoff_until,
            backoff_reason=row.backoff_reason,
            day_limit_usd=None if row.day_limit_usd is None else money(row.day_limit_usd),
            day_spend_usd=money(row.day_spend_usd),
            waits_until=row.waits_until,
        )
