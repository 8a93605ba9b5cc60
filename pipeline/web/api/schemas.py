"""What the API takes and answers, as pydantic models: the answers are made of them, and so is /openapi.json. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.results import item_document, status_document, timestamp
from pipeline.domain.states import BatchState, ItemState
from pipeline.ledger.records import AccountRow

BATCH_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
MAX_A_PAGE = 500
MAX_PROMPT_CHARS = 10_000

Money = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$", description="US dollars as decimal text.", examples=["0.27"])]
Uri = Annotated[str, Field(examples=["s3://bucket/prefix/la-street/items/woman-1/0.mp4"])]
Size = Annotated[int, Field(ge=0, description="In bytes.")]
Digest = Annotated[str, Field(description="Hex SHA-256.")]
Limit = Annotated[int, Field(ge=1, le=MAX_A_PAGE, description="At most so many a page.")]
Cursor = Annotated[str, Field(max_length=128, description="`next` of the page before.")]


class ResponseModel(BaseModel):
    """What is answered."""

    model_config = ConfigDict(extra="forbid")


class RequestModel(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="forbid")


class ManifestProblem(ResponseModel):
    """One mistake, and where it stands in what was sent."""

    line: int
    column: int
    message: str


class ProblemDocument(ResponseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ManifestProblem] | None = None


class Batch(ResponseModel):
    """One batch with its figures."""

    id: str
    name: str
    model: str
    status: BatchState
    counts: dict[ItemState, int] = Field(description="Items by state; only states that occur.")
    total: int
    cost_usd: Money
    created: datetime
    finished: datetime | None
    output: Uri = Field(description="The folder of the batch.")
    trigger: str = Field(description="What started it: `cli`, `api`, `schedule:NAME`, `trigger:NAME`.")
    revision: int
    reason: str | None = Field(description="Why it was stopped or does not go on, in words.")
    results: Uri | None = Field(description="results.json, once the batch has ended.")

    @field_serializer("created", "finished")
    def _time(self, when: datetime | None) -> str | None:
        return timestamp(when)

    @classmethod
    def of(cls, row: BatchRow, results: str) -> Batch:
        """The document of a row. `results` is where its results are once it has ended."""
        return cls.model_validate(
            {
                **status_document(row),
                "model": row.model,
                "trigger": row.trigger,
                "revision": row.revision,
                "reason": row.reason,
                "results": results if row.finished else None,
            }
        )


class Batches(ResponseModel):
    """A page of batches, newest first."""

    batches: list[Batch]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class OutputFile(ResponseModel):
    """One file of an item."""

    uri: Uri
    content_type: str
    size: Size
    sha256: Digest


class Verdict(ResponseModel):
    """What a person thinks of an item."""

    mark: Literal["approved", "rejected"]
    note: str


class Item(ResponseModel):
    """One item with what became of it."""

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
    review: Verdict | None = None
    take_of: str | None = Field(None, description="The item of which this is another take.")

    @classmethod
    def of(cls, row: ItemRow) -> Item:
        """The document of a row."""
        return cls.model_validate(item_document(row))


class Items(ResponseModel):
    """A page of items in manifest order. A page of a filtered list may be short, even empty, and not be the last."""

    items: list[Item]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class Account(ResponseModel):
    """How the account at the vendor is doing."""

    active: int = Field(description="Runs at the vendor now.")
    concurrency_limit: int | None = Field(description="Most runs at a time; null: no limit is known.")
    paused_reason: str | None = Field(description="Why nothing is submitted; null when it is.")
    backoff_until: datetime | None
    backoff_reason: str | None = Field(description="What the vendor said that makes us wait.")

    @field_serializer("backoff_until")
    def _time(self, when: datetime | None) -> str | None:
        return timestamp(when)

    @classmethod
    def of(cls, row: AccountRow) -> Account:
        """The document of a row."""
        return cls(
            active=row.active,
            concurrency_limit=row.concurrency_limit,
            paused_reason=row.paused_reason,
            backoff_until=row.backoff_until,
            backoff_reason=row.backoff_reason,
        )


class RetryResult(ResponseModel):
    """What a retry did."""

    reopened: int = Field(description="Items that go again.")


class TakeResult(ResponseModel):
    """Another take of an item."""

    item: str = Field(description="The new item's id.")


class UploadedImage(ResponseModel):
    """A picture that was stored: an item's `image` may name it by its `uri`."""

    uri: Uri
    content_type: str
    size: Size
    sha256: Digest


class Estimate(ResponseModel):
    """A manifest that is right, and what it would cost."""

    name: str
    model: str
    items: int
    per_run_usd: Money | None = Field(description="null: the vendor tells no price for a run.")
    total_usd: Money | None = Field(description="Every item once.")


class BatchesQuery(RequestModel):
    """Which batches."""

    limit: Limit = 50
    cursor: Cursor | None = None


class ItemsQuery(RequestModel):
    """Which items."""

    limit: Limit = 100
    cursor: Annotated[str, Field(pattern=r"^\d{1,9}$", description="`next` of the page before.")] | None = None
    status: Annotated[list[ItemState], Field(description="Only items in one of these states.")] = []
    text: Annotated[str, Field(max_length=200, description="Only items with this in id, image or prompt.")] = ""
    review: Annotated[
        Literal["approved", "rejected", "none"] | None,
        Field(description="Only items with this verdict; `none`: what has succeeded and nobody has judged."),
    ] = None


class RetryRequest(RequestModel):
    """Which items go again; what is paid is copied again, not run."""

    status: list[Literal["failed", "unknown", "cancelled"]] = ["failed"]


class ReviewRequest(RequestModel):
    """A verdict; `mark` null takes it back."""

    mark: Literal["approved", "rejected"] | None
    note: Annotated[str, Field(max_length=2000)] = ""


class TakeRequest(RequestModel):
    """The prompt of another take."""

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)]
