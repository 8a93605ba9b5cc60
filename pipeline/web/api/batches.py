"""The API: batches, their items, the account."""

from __future__ import annotations

from decimal import Decimal

import structlog
from flask import Response, g, request

from pipeline.batches.service import Service
from pipeline.domain.model import BatchRow, Review
from pipeline.domain.results import money, results_uri
from pipeline.errors import DailiesError, InvalidBatchId
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.web.api.endpoints import Endpoints, Header, answer, whole_body
from pipeline.web.api.manifest_schema import MANIFEST_BODY
from pipeline.web.api.schemas import (
    BATCH_ID,
    Account,
    Batch,
    Batches,
    BatchesQuery,
    Estimate,
    Item,
    Items,
    ItemsQuery,
    RetryRequest,
    RetryResult,
    ReviewRequest,
    TakeRequest,
    TakeResult,
)
from pipeline.wiro.client import Wiro

log = structlog.get_logger()

ROOT = "/api/v1"
BATCH = f"{ROOT}/batches/{{batch_id}}"
ITEM = f"{BATCH}/items/{{item_id}}"
_KEY = Header("Idempotency-Key", "The batch id: the same key again is the same batch, never a second one.", BATCH_ID)


def add_to(endpoints: Endpoints, service: Service) -> None:
    """Add all that is under `/api/v1` and is one question and one answer."""
    untrusted = UntrustedManifests(service.settings, service.storage)
    _add_creation(endpoints, service, untrusted)
    _add_estimate(endpoints, untrusted, Wiro.from_settings(service.settings))
    _add_batches(endpoints, service)
    _add_steering(endpoints, service)
    _add_items(endpoints, service)
    _add_account(endpoints, service)


def _add_creation(endpoints: Endpoints, service: Service, untrusted: UntrustedManifests) -> None:

    @endpoints.add(
        "POST",
        f"{ROOT}/batches",
        answers={201: Batch, 200: Batch},
        errors=(409, 413, 422, 502),
        headers=(_KEY,),
        raw_body=MANIFEST_BODY,
    )
    def create_batch() -> Response:
        """Take in a batch.

        The body is the manifest, YAML or JSON. 201 with its Location when it is new, 200 when it was there, 422
        with all mistakes. It reads no files: images are URLs or s3:// addresses in buckets of the service.
        """
        manifest = untrusted.read(whole_body(), file="manifest")
        key = request.headers.get(_KEY.name)
        if key == "":
            raise InvalidBatchId(key)
        accepted = service.submission.submit(manifest, key, trigger="api", folder=None)
        batch_id = accepted.batch_id
        log.info("batch_taken_in", batch=batch_id, created=accepted.created, who=g.get("who"))
        headers = {"Location": f"{ROOT}/batches/{batch_id}"} if accepted.created else None
        return answer(_batch(service, service.ledger.batches.get(batch_id)), 201 if accepted.created else 200, headers)


def _add_estimate(endpoints: Endpoints, untrusted: UntrustedManifests, wiro: Wiro) -> None:
    @endpoints.add("POST", f"{ROOT}/estimate", answers={200: Estimate}, errors=(413, 422, 502), raw_body=MANIFEST_BODY)
    def estimate_batch() -> Response:
        """Judge a manifest, tell what it would cost, and do nothing else."""
        manifest = untrusted.read(whole_body(), file="manifest")
        price = _price(wiro, manifest.model)
        number = len(manifest.items)
        return answer(
            Estimate(
                name=manifest.name,
                model=manifest.model,
                items=number,
                per_run_usd=None if price is None else money(price),
                total_usd=None if price is None else money(price * number),
            )
        )


def _add_batches(endpoints: Endpoints, service: Service) -> None:
    @endpoints.add("GET", f"{ROOT}/batches", answers={200: Batches}, errors=(400, 404), query=BatchesQuery)
    def list_batches(query: BatchesQuery) -> Response:
        """List batches, newest first."""
        page = service.ledger.queries.batch_page(query.limit, after=query.cursor)
        return answer(Batches(batches=[_batch(service, row) for row in page.batches], next=page.next))

    @endpoints.add("GET", BATCH, answers={200: Batch}, errors=(404,))
    def get_batch(batch_id: str) -> Response:
        """Tell how a batch is doing."""
        return answer(_batch(service, service.ledger.batches.get(batch_id)))


def _add_steering(endpoints: Endpoints, service: Service) -> None:
    @endpoints.add("POST", f"{BATCH}/cancel", answers={200: Batch}, errors=(404, 502))
    def cancel_batch(batch_id: str) -> Response:
        """Stop a batch: what waits is cancelled, what runs is cancelled or killed at the vendor."""
        service.control.cancel(batch_id)
        return answer(_batch(service, service.ledger.batches.get(batch_id)))

    @endpoints.add("POST", f"{BATCH}/pause", answers={200: Batch}, errors=(404,))
    def pause_batch(batch_id: str) -> Response:
        """Submit nothing more of a batch; what runs goes on."""
        service.control.pause(batch_id)
        return answer(_batch(service, service.ledger.batches.get(batch_id)))

    @endpoints.add("POST", f"{BATCH}/resume", answers={200: Batch}, errors=(404,))
    def resume_batch(batch_id: str) -> Response:
        """Go on with a paused batch."""
        service.control.resume(batch_id)
        return answer(_batch(service, service.ledger.batches.get(batch_id)))

    @endpoints.add(
        "POST", f"{BATCH}/retry", answers={200: RetryResult}, errors=(404, 413, 415, 422, 502), body=RetryRequest
    )
    def retry_batch(batch_id: str, body: RetryRequest) -> Response:
        """Let ended items go again; what is paid is copied again, not run."""
        return answer(RetryResult(reopened=service.control.retry(batch_id, body.status)))


def _add_items(endpoints: Endpoints, service: Service) -> None:
    @endpoints.add("GET", f"{BATCH}/items", answers={200: Items}, errors=(400, 404), query=ItemsQuery)
    def list_items(batch_id: str, query: ItemsQuery) -> Response:
        """List the items of a batch in manifest order.

        A page of a filtered list may be short, even empty, and not be the last: go on while there is a `next`.
        """
        page = service.ledger.queries.item_page(
            batch_id,
            query.limit,
            first=int(query.cursor or 0),
            states=query.status,
            text=query.text,
            mark=query.review or "",
        )
        following = None if page.next is None else str(page.next)
        return answer(Items(items=[Item.of(row) for row in page.items], next=following))

    @endpoints.add("GET", ITEM, answers={200: Item}, errors=(404,))
    def get_item(batch_id: str, item_id: str) -> Response:
        """Tell how an item is doing."""
        return answer(Item.of(service.ledger.items.get(batch_id, item_id)))

    @endpoints.add("POST", f"{ITEM}/retry", answers={200: RetryResult}, errors=(404, 502))
    def retry_item(batch_id: str, item_id: str) -> Response:
        """Let one ended item go again; what is paid is copied again, not run."""
        return answer(RetryResult(reopened=int(service.control.retry_item(batch_id, item_id))))

    @endpoints.add("POST", f"{ITEM}/review", answers={200: Item}, errors=(404, 413, 415, 422, 502), body=ReviewRequest)
    def review_item(batch_id: str, item_id: str, body: ReviewRequest) -> Response:
        """Mark an item approved or rejected, or take that back."""
        service.reviews.review(batch_id, item_id, Review(body.mark, body.note) if body.mark else None)
        return answer(Item.of(service.ledger.items.get(batch_id, item_id)))

    @endpoints.add(
        "POST", f"{ITEM}/again", answers={201: TakeResult}, errors=(404, 413, 415, 422, 502), body=TakeRequest
    )
    def take_again(batch_id: str, item_id: str, body: TakeRequest) -> Response:
        """Make another take of an item, with another prompt, in the same batch; the old one stays beside it."""
        take = service.reviews.create_take(batch_id, item_id, body.prompt)
        return answer(TakeResult(item=take), 201, {"Location": f"{ROOT}/batches/{batch_id}/items/{take}"})


def _add_account(endpoints: Endpoints, service: Service) -> None:
    @endpoints.add("GET", f"{ROOT}/account", answers={200: Account})
    def get_account() -> Response:
        """Tell how the account at the vendor is doing."""
        return answer(Account.of(service.ledger.account.get()))

    @endpoints.add("POST", f"{ROOT}/account/pause", answers={200: Account})
    def pause_account() -> Response:
        """Submit nothing more, of any batch; what runs goes on."""
        service.control.pause_account()
        return answer(Account.of(service.ledger.account.get()))

    @endpoints.add("POST", f"{ROOT}/account/resume", answers={200: Account})
    def resume_account() -> Response:
        """Go on with everything."""
        service.control.resume_account()
        return answer(Account.of(service.ledger.account.get()))


def _price(wiro: Wiro, model: str) -> Decimal | None:
    try:
        return wiro.model_schema(model).per_run_usd
    except DailiesError as error:
        log.warning("price_unknown", model=model, error=str(error))
        return None


def _batch(service: Service, row: BatchRow) -> Batch:
    return Batch.of(row, results_uri(row))
