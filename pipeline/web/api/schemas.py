"""Request and response bodies of the API, as pydantic models. /openapi.json is made from them. Pure.

Batches, items and the account are described in `pipeline.batches.documents`, which the CLI uses too.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pipeline.batches.json_documents import Batch, Digest, Document, Item, Money, Size, Uri
from pipeline.domain.failure_groups import MAX_CAUSE_CHARS
from pipeline.domain.states import ItemState
from pipeline.manifest.yaml.decoder import BAD_TEXT

BATCH_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
MAX_PAGE_SIZE = 500
MAX_PROMPT_CHARS = 10_000

Limit = Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE, description="Maximum number of entries per page.")]
Cursor = Annotated[str, Field(max_length=128, description="`next` of the previous page.")]


class RequestModel(BaseModel):
    """A request body or query."""

    model_config = ConfigDict(extra="forbid")


class ManifestProblem(Document):
    """One error in a manifest and its position."""

    line: int
    column: int
    message: str


class ProblemDocument(Document):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ManifestProblem] | None = None


class Batches(Document):
    """A page of batches, newest first."""

    batches: list[Batch]
    next: str | None = Field(description="`cursor` of the next page; null on the last page.")


class Items(Document):
    """A page of items in manifest order. A page of a filtered list can be short, even empty, before the last page."""

    items: list[Item]
    next: str | None = Field(description="`cursor` of the next page; null on the last page.")


class RetryResult(Document):
    """The result of a retry."""

    reopened: int = Field(description="Number of items that are pending again.")


class TakeResult(Document):
    """A new take of an item."""

    item: str = Field(description="Id of the new item.")


class UploadedImage(Document):
    """A stored image. Use its `uri` as the `image` of an item."""

    uri: Uri
    content_type: str
    size: Size
    sha256: Digest


class Estimate(Document):
    """The estimated cost of a valid manifest."""

    name: str
    model: str
    items: int
    per_run_usd: Money | None = Field(description="Price of one run; null if the items differ or it is not known.")
    total_usd: Money | None = Field(description="The same as high_usd.")
    low_usd: Money | None = Field(description="Least cost of one run of each item; null if no price is known.")
    high_usd: Money | None = Field(description="Highest cost of one run of each item; null if no price is known.")
    reason: str = Field(description="Why the cost is not exact or not known; empty if it is.")
    reused: int = Field(description="Items whose outputs are copied, not bought; the cost does not contain them.")
    saved_usd: Money = Field(description="What these items would cost.")
    refusal: str | None = Field(description="Why the batch would be refused: its cost is above a ceiling; else null.")


class BatchesQuery(RequestModel):
    """Selects batches."""

    limit: Limit = 50
    cursor: Cursor | None = None


class ItemsQuery(RequestModel):
    """Selects items."""

    limit: Limit = 100
    cursor: Annotated[str, Field(pattern=r"^s?\d{1,12}$", description="`next` of the previous page.")] | None = None
    status: Annotated[list[ItemState], Field(description="Only items in one of these states.")] = []
    text: Annotated[str, Field(max_length=200, description="Only items with this text in id, image or prompt.")] = ""
    review: Annotated[
        Literal["approved", "rejected", "none"] | None,
        Field(description="Only items with this review; `none`: succeeded items without a review."),
    ] = None


class OutputsQuery(RequestModel):
    """Selects the items whose outputs are downloaded."""

    review: Annotated[Literal["approved"] | None, Field(description="Only items with this review.")] = None
    item: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128)]],
        Field(max_length=MAX_PAGE_SIZE, description="Only these items, by their ids. Empty: all."),
    ] = []


class RetryRequest(RequestModel):
    """Selects the items to retry by their state. Outputs that are paid for are copied again, not bought again."""

    status: Annotated[
        list[Literal["failed", "unknown", "cancelled"]],
        Field(description="The vendor may already have billed the run of an `unknown` item."),
    ] = ["failed"]


class BatchRetryRequest(RetryRequest):
    """Selects the items to retry by their state, or the failed items by their cause."""

    cause: Annotated[
        str | None,
        Field(max_length=MAX_CAUSE_CHARS, description="Only failed items with this cause, as `failures` names it."),
    ] = None

    @model_validator(mode="after")
    def _check_cause(self) -> Self:
        if self.cause is not None and self.status != ["failed"]:
            raise ValueError('a cause selects failed items: leave out status, or send ["failed"]')
        return self


def _check_text(text: str) -> str:
    if BAD_TEXT.search(text):
        raise ValueError("control characters and unpaired surrogates are not allowed")
    return text


class ReviewRequest(RequestModel):
    """A review; `mark` null removes it."""

    mark: Literal["approved", "rejected"] | None
    note: Annotated[str, Field(max_length=2000), AfterValidator(_check_text)] = ""


class TakeRequest(RequestModel):
    """The prompt of a new take."""

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS), AfterValidator(_check_text)]
