"""API endpoints of batches, their items and the account."""

from __future__ import annotations

import structlog
from flask import Response, g, request
from werkzeug.exceptions import BadRequest

from pipeline.batches.batch_items import BatchItems
from pipeline.batches.control import BatchControl
from pipeline.batches.json_documents import Account, Batch, Item
from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.pricing import BatchEstimate
from pipeline.batches.reviews import Reviews
from pipeline.batches.service import Service
from pipeline.batches.submission import Submission
from pipeline.domain.model import BatchRow, Review
from pipeline.domain.results import money
from pipeline.errors import BatchAboveCeiling, InvalidBatchId
from pipeline.ledger.ledger import Ledger
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.web.api.endpoints import Endpoints, Header, json_response, whole_body
from pipeline.web.api.manifest_schema import MANIFEST_BODY
from pipeline.web.api.schemas import (
    BATCH_ID,
    Batches,
    BatchesQuery,
    BatchRetryRequest,
    Estimate,
    Items,
    ItemsQuery,
    RetryRequest,
    RetryResult,
    ReviewRequest,
    TakeRequest,
    TakeResult,
)

log = structlog.get_logger()

ROOT = "/api/v1"
BATCH = f"{ROOT}/batches/{{batch_id}}"
ITEM = f"{BATCH}/items/{{item_id}}"
_KEY = Header("Idempotency-Key", "The batch id. The same key again returns the same batch.", BATCH_ID)


def add_to(endpoints: Endpoints, service: Service) -> None:
    """Add all endpoints under `/api/v1` except image upload and events."""
    untrusted = UntrustedManifests(service.settings, service.storage, service.models.for_checks())
    _add_creation(endpoints, service.ledger, service.submission, untrusted)
    _add_estimate(endpoints, untrusted, service.models, service.submission)
    _add_batches(endpoints, service.ledger)
    _add_control(endpoints, service.ledger, service.control)
    _add_items(endpoints, service.ledger, service.items)
    _add_item_changes(endpoints, service.ledger, service.control, service.reviews)
    _add_account(endpoints, service.ledger, service.control)


def _add_creation(endpoints: Endpoints, ledger: Ledger, submission: Submission, untrusted: UntrustedManifests) -> None:
    @endpoints.add(
        "POST",
        f"{ROOT}/batches",
        responses={201: Batch, 200: Batch},
        errors=(409, 413, 422, 502),
        headers=(_KEY,),
        raw_body=MANIFEST_BODY,
    )
    def create_batch() -> Response:
        """Create a batch.

        The body is the manifest, in YAML or JSON. 201 with Location for a new batch, 200 if it exists already, 422
        with all errors of the manifest, also those against the schema of its model. Images are URLs, or s3:// URIs
        below prefixes of the service; no file is read.
        """
        manifest = untrusted.read(whole_body(), file="manifest")
        key = request.headers.get(_KEY.name)
        if key == "":
            raise InvalidBatchId(key)
        accepted = submission.submit(manifest, key, trigger="api", folder=None)
        batch_id = accepted.batch_id
        log.info("batch_accepted", batch=batch_id, created=accepted.created, who=g.get("who"))
        headers = {"Location": f"{ROOT}/batches/{batch_id}"} if accepted.created else None
        return json_response(Batch.of(ledger.batches.get(batch_id)), 201 if accepted.created else 200, headers)


def _add_estimate(
    endpoints: Endpoints, untrusted: UntrustedManifests, models: ModelCatalog, submission: Submission
) -> None:
    @endpoints.add(
        "POST", f"{ROOT}/estimate", responses={200: Estimate}, errors=(413, 422, 502), raw_body=MANIFEST_BODY
    )
    def estimate_batch() -> Response:
        """Validate a manifest and estimate its cost. Nothing is created."""
        manifest = untrusted.read(whole_body(), file="manifest")
        estimate = submission.with_reuse(BatchEstimate.of(manifest, models), manifest, None)
        low, high, per_run = estimate.low_usd, estimate.high_usd, estimate.per_run_usd
        return json_response(
            Estimate(
                name=manifest.name,
                model=manifest.model,
                items=len(manifest.items),
                per_run_usd=None if per_run is None else money(per_run),
                total_usd=None if high is None else money(high),
                low_usd=None if low is None else money(low),
                high_usd=None if high is None else money(high),
                reason=estimate.reason,
                reused=len(estimate.reused),
                saved_usd=money(estimate.saved_usd),
                refusal=_refusal(estimate, submission),
            )
        )


def _refusal(estimate: BatchEstimate, submission: Submission) -> str | None:
    try:
        submission.check_cost(estimate)
    except BatchAboveCeiling as error:
        return str(error)
    return None


def _add_batches(endpoints: Endpoints, ledger: Ledger) -> None:
    @endpoints.add("GET", f"{ROOT}/batches", responses={200: Batches}, errors=(400, 404), query=BatchesQuery)
    def list_batches(query: BatchesQuery) -> Response:
        """List batches, newest first."""
        page = ledger.queries.batch_page(query.limit, after=query.cursor)
        return json_response(Batches(batches=[Batch.of(row) for row in page.batches], next=page.next))

    @endpoints.add("GET", BATCH, responses={200: Batch}, errors=(404,))
    def get_batch(batch_id: str) -> Response:
        """Get a batch."""
        row, causes = ledger.batches.get(batch_id), ledger.queries.failure_causes(batch_id)
        return json_response(Batch.of(row, ledger.account.get(), causes))


def _add_control(endpoints: Endpoints, ledger: Ledger, control: BatchControl) -> None:
    @endpoints.add("POST", f"{BATCH}/cancel", responses={200: Batch}, errors=(404, 502))
    def cancel_batch(batch_id: str) -> Response:
        """Cancel a batch: pending items are cancelled, active runs are cancelled or killed at the vendor."""
        control.cancel(batch_id)
        return json_response(Batch.of(ledger.batches.get(batch_id)))

    @endpoints.add("POST", f"{BATCH}/pause", responses={200: Batch}, errors=(404,))
    def pause_batch(batch_id: str) -> Response:
        """Pause a batch: no item is submitted, active runs continue."""
        control.pause(batch_id)
        return json_response(Batch.of(ledger.batches.get(batch_id)))

    @endpoints.add("POST", f"{BATCH}/resume", responses={200: Batch}, errors=(404,))
    def resume_batch(batch_id: str) -> Response:
        """Resume a paused batch."""
        control.resume(batch_id)
        return json_response(Batch.of(ledger.batches.get(batch_id)))

    @endpoints.add(
        "POST",
        f"{BATCH}/retry",
        responses={200: RetryResult},
        errors=(404, 409, 413, 415, 422, 502),
        body=BatchRetryRequest,
    )
    def retry_batch(batch_id: str, body: BatchRetryRequest) -> Response:
        """Retry ended items, by default those that failed. Outputs that are paid for are copied again, not bought."""
        if body.cause is not None:
            return json_response(RetryResult(reopened=control.retry_cause(batch_id, body.cause)))
        return json_response(RetryResult(reopened=control.retry(batch_id, body.status)))


def _add_items(endpoints: Endpoints, ledger: Ledger, items: BatchItems) -> None:
    @endpoints.add("GET", f"{BATCH}/items", responses={200: Items}, errors=(400, 404, 502), query=ItemsQuery)
    def list_items(batch_id: str, query: ItemsQuery) -> Response:
        """List the items of a batch in manifest order.

        A page of a filtered list can be short, even empty, before the last page: continue while `next` is not null.
        The items of an archived batch are read from S3.
        """
        batch = ledger.batches.get(batch_id)
        page = items.page(
            batch,
            query.limit,
            first=_position(batch, query.cursor),
            states=query.status,
            text=query.text,
            mark=query.review or "",
        )
        cursor = None if page.next is None else f"{_cursor_kind(batch)}{page.next}"
        return json_response(Items(items=[Item.of(row) for row in page.items], next=cursor))

    @endpoints.add("GET", ITEM, responses={200: Item}, errors=(404, 502))
    def get_item(batch_id: str, item_id: str) -> Response:
        """Get an item. That of an archived batch is searched for on S3."""
        return json_response(Item.of(items.get(ledger.batches.get(batch_id), item_id)))


def _cursor_kind(batch: BatchRow) -> str:
    """Return how cursors of its items begin: that of an archived batch is a position on S3."""
    return "s" if batch.archived else ""


def _position(batch: BatchRow, cursor: str | None) -> int:
    """Return where a page begins. Raises BadRequest if the batch was archived or restored since the page before."""
    kind = _cursor_kind(batch)
    if cursor is not None and cursor.startswith("s") != bool(kind):
        raise BadRequest("The batch was archived or restored since the page before. Begin again without `cursor`.")
    return int((cursor or "0").removeprefix(kind))


def _add_item_changes(endpoints: Endpoints, ledger: Ledger, control: BatchControl, reviews: Reviews) -> None:
    @endpoints.add(
        "POST", f"{ITEM}/retry", responses={200: RetryResult}, errors=(404, 409, 413, 415, 422, 502), body=RetryRequest
    )
    def retry_item(batch_id: str, item_id: str, body: RetryRequest) -> Response:
        """Retry one item if it ended in one of the given states, by default `failed`."""
        return json_response(RetryResult(reopened=int(control.retry_item(batch_id, item_id, body.status))))

    @endpoints.add(
        "POST", f"{ITEM}/review", responses={200: Item}, errors=(404, 409, 413, 415, 422, 502), body=ReviewRequest
    )
    def review_item(batch_id: str, item_id: str, body: ReviewRequest) -> Response:
        """Approve or reject an item, or remove its review."""
        reviews.review(batch_id, item_id, Review(body.mark, body.note) if body.mark else None)
        return json_response(Item.of(ledger.items.get(batch_id, item_id)))

    @endpoints.add(
        "POST", f"{ITEM}/again", responses={201: TakeResult}, errors=(404, 409, 413, 415, 422, 502), body=TakeRequest
    )
    def create_take(batch_id: str, item_id: str, body: TakeRequest) -> Response:
        """Create another take of an item with a changed prompt, in the same batch. The item itself is kept."""
        take = reviews.create_take(batch_id, item_id, body.prompt)
        return json_response(TakeResult(item=take), 201, {"Location": f"{ROOT}/batches/{batch_id}/items/{take}"})


def _add_account(endpoints: Endpoints, ledger: Ledger, control: BatchControl) -> None:
    @endpoints.add("GET", f"{ROOT}/account", responses={200: Account})
    def get_account() -> Response:
        """Get the state of the account at the vendor."""
        return json_response(Account.of(ledger.account.get()))

    @endpoints.add("POST", f"{ROOT}/account/pause", responses={200: Account})
    def pause_account() -> Response:
        """Pause the account: no item of any batch is submitted, active runs continue."""
        control.pause_account()
        return json_response(Account.of(ledger.account.get()))

    @endpoints.add("POST", f"{ROOT}/account/resume", responses={200: Account})
    def resume_account() -> Response:
        """Resume the account."""
        control.resume_account()
        return json_response(Account.of(ledger.account.get()))
