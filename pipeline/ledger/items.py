"""Items of the ledger: their specs, outcomes and reviews."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from pipeline.domain.chunks import chunked
from pipeline.domain.ids import is_item_id
from pipeline.domain.model import ItemRow, Review
from pipeline.domain.money import MAX_USD, to_pico
from pipeline.domain.states import TERMINAL, ItemState
from pipeline.errors import BatchArchived, DamagedRecord, InvalidItemId, NoSuchBatch, NoSuchItem
from pipeline.ledger.decoding import LIVE_FIELDS, item_row
from pipeline.ledger.keys import batch_key, item_key, order_key, outcomes_key, prices_key, reviews_key, specs_key
from pipeline.ledger.numbers import usd
from pipeline.ledger.outcomes import outcome_text
from pipeline.ledger.records import RunRef
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.times import ms

_CHUNK = 500
_RETRYABLE = frozenset(TERMINAL - {ItemState.SUCCEEDED})


class ItemStore:
    """Reads and changes the items of a batch. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def load(
        self,
        batch_id: str,
        rows: Iterable[tuple[str, Mapping[str, Any], Decimal | None]],
        *,
        manifest_digest: str = "",
    ) -> bool:
        """Add items to a batch: (id, {image, prompt, params}, price). Items that exist stay as they are.

        The price in USD is reserved for each run of the item; None: the price of the batch. Returns False if the batch
        has another digest than `manifest_digest` ('': any), or its submission was cancelled. Raises InvalidItemId.
        """
        for chunk in chunked(rows, _CHUNK):
            args = [part for row in chunk for part in _load_args(*row)]
            if self._scripts.run("load_items", batch_id, manifest_digest, *args) < 0:
                return False
        return True

    def restore(
        self,
        batch_id: str,
        items: Iterable[tuple[str, Mapping[str, Any]]],
        prices: Mapping[str, Decimal],
        *,
        adopt_wait_s: float,
    ) -> None:
        """Add items to a batch as S3 records them. Items that exist stay as they are.

        Each is (id, {spec, state, attempt, task, token, paid, charged, found_by, outcome}), with `attempts` if others
        than `attempt` are spent, `review` if it has one, and for outputs to reuse {reuse_key, reused_from, source}.
        `prices`: the price of a run in USD, of the items where it is known; it is reserved for each run that may still
        be billed. Raises InvalidItemId.
        """
        for chunk in chunked(items, _CHUNK):
            args = [part for item_id, item in chunk for part in _restore_args(_valid(item_id), item, prices)]
            self._scripts.run("restore_items", batch_id, ms(adopt_wait_s), *args)

    def prices(self, batch_id: str, ids: Sequence[str]) -> dict[str, Decimal | None]:
        """Return {item id: price in USD of another run of it, None if it is not known}."""
        if not ids:
            return {}
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hget(batch_key(batch_id), "price").hmget(prices_key(batch_id), ids)
            of_batch, own = pipe.execute()
        texts = [price or of_batch for price in own]
        return {item_id: usd(text) or None for item_id, text in zip(ids, texts, strict=True)}

    def add(self, batch_id: str, item_id: str, spec: Mapping[str, Any]) -> bool:
        """Add one item to a loaded batch, which runs again if it has ended. Returns False if the item exists.

        A take has the price of the item that it was made from. Raises InvalidItemId.
        """
        return bool(
            self._scripts.run("add_item", batch_id, _valid(item_id), _spec_text(spec), spec.get("take_of") or "") == 1
        )

    def stream(self, batch_id: str, states: Collection[str] | None = None) -> Iterator[ItemRow]:
        """Yield items in manifest order; only those in `states` unless it is None.

        Raises NoSuchBatch, BatchArchived, also if the items leave Redis meanwhile.
        """
        self._refuse_archived(batch_id)
        for first in range(0, self._redis.llen(order_key(batch_id)), _CHUNK):
            ids = self._redis.lrange(order_key(batch_id), first, first + _CHUNK - 1)
            for row in read_items(self._redis, batch_id, ids):
                if states is None or row.status in states:
                    yield row
        self._refuse_archived(batch_id)

    def get(self, batch_id: str, item_id: str) -> ItemRow:
        """Return one item. Raises NoSuchBatch, NoSuchItem."""
        if not self._redis.hexists(specs_key(batch_id), item_id):
            raise self._missing(batch_id, item_id)
        return read_items(self._redis, batch_id, [item_id])[0]

    def spec(self, batch_id: str, item_id: str) -> dict[str, Any]:
        """Return {image, prompt, params} of an item. Raises NoSuchBatch, NoSuchItem."""
        text = self._redis.hget(specs_key(batch_id), item_id)
        if text is None:
            raise self._missing(batch_id, item_id)
        spec: dict[str, Any] = json.loads(text)
        return spec

    def run_of(self, batch_id: str, item_id: str) -> RunRef | None:
        """Return the latest run of an item; None if the vendor has accepted none. Raises NoSuchBatch, NoSuchItem."""
        self.spec(batch_id, item_id)
        task, token, attempt = self._redis.hmget(item_key(batch_id, item_id), "task", "token", "attempt")
        return RunRef(task, token or "", int(attempt)) if task else None

    def review(self, batch_id: str, item_id: str, review: Review | None) -> bool:
        """Store a person's review of an item; None removes it. Returns whether the results are due again.

        Raises NoSuchBatch, NoSuchItem.
        """
        result = self._scripts.run("review_item", batch_id, item_id, _review_text(review))
        if result < 0:
            raise self._missing(batch_id, item_id)
        return bool(result == 1)

    def retry(self, batch_id: str, states: Collection[str]) -> int:
        """Retry items that have ended in one of `states`; a paid run is only copied again.

        Returns how many. Raises NoSuchBatch.
        """
        self._require_batch(batch_id)
        retryable = [state for state in states if state in _RETRYABLE]
        first, retried = 0, 0
        while True:
            scanned, number = self._scripts.run("retry_items", batch_id, first, first + _CHUNK - 1, *retryable)
            first, retried = first + _CHUNK, retried + number
            if scanned < _CHUNK:
                return int(retried)

    def retry_one(self, batch_id: str, item_id: str, states: Collection[str] = _RETRYABLE) -> bool:
        """Retry one item that has ended in one of `states`; a paid run is only copied again.

        Returns False if it has not, or has succeeded. Raises NoSuchBatch, NoSuchItem.
        """
        retryable = [state for state in states if state in _RETRYABLE]
        result = self._scripts.run("retry_item", batch_id, item_id, *retryable)
        if result < 0:
            raise self._missing(batch_id, item_id)
        return bool(result == 1)

    def retry_failed(self, batch_id: str, item_ids: Sequence[str]) -> list[str]:
        """Retry those of the items that have failed; a paid run is only copied again. Return them."""
        return list(self._scripts.run("retry_named", batch_id, *item_ids)) if item_ids else []

    def cancel_pending(self, batch_id: str, reason: str) -> int:
        """End all pending items as cancelled, in small steps. Returns how many items are still open."""
        outcome = json.dumps({"status": ItemState.CANCELLED, "error": reason}, ensure_ascii=False)
        while True:
            ended, still_open = self._scripts.run("cancel_pending", batch_id, _CHUNK, outcome)
            if ended < _CHUNK:
                return int(still_open)

    def poll_now(self, batch_id: str) -> None:
        """Make every running item of a batch due now."""
        first = 0
        while self._scripts.run("poll_now", batch_id, first, first + _CHUNK - 1) == _CHUNK:
            first += _CHUNK

    def _require_batch(self, batch_id: str) -> None:
        if not self._redis.exists(batch_key(batch_id)):
            raise NoSuchBatch(batch_id)
        self._refuse_archived(batch_id)

    def _refuse_archived(self, batch_id: str) -> None:
        created, archived, output = self._redis.hmget(batch_key(batch_id), "created", "archived", "output")
        if created is None:
            raise NoSuchBatch(batch_id)
        if archived is not None:
            raise BatchArchived(batch_id, output or "")

    def _missing(self, batch_id: str, item_id: str) -> NoSuchItem:
        self._require_batch(batch_id)
        return NoSuchItem(batch_id, item_id)


def read_items(redis: Any, batch_id: str, ids: Sequence[str]) -> list[ItemRow]:
    """Return the items with these ids, in this order, in one round trip."""
    if not ids:
        return []
    with redis.pipeline(transaction=False) as pipe:
        pipe.hmget(specs_key(batch_id), ids)
        pipe.hmget(outcomes_key(batch_id), ids)
        pipe.hmget(reviews_key(batch_id), ids)
        for item_id in ids:
            pipe.hmget(item_key(batch_id, item_id), LIVE_FIELDS)
        specs, outcomes, reviews, *live = pipe.execute(raise_on_error=False)
    for reply in (specs, outcomes, reviews):
        if isinstance(reply, Exception):
            raise DamagedRecord(f"The items of batch {batch_id!r} cannot be read from Redis: {reply}")
    return [item_row(*parts) for parts in zip(ids, specs, outcomes, reviews, live, strict=True)]


def _valid(item_id: str) -> str:
    if not is_item_id(item_id):
        raise InvalidItemId(item_id)
    return item_id


def _load_args(item_id: str, spec: Mapping[str, Any], price: Decimal | None) -> tuple[str, str, str]:
    return _valid(item_id), _spec_text(spec), _price_text(price)


def _restore_args(item_id: str, item: Mapping[str, Any], prices: Mapping[str, Decimal]) -> tuple[object, ...]:
    outcome = outcome_text(item["outcome"]) if item["outcome"] else ""
    run = (item["state"], item["attempt"], item.get("attempts", item["attempt"]), item["task"], item["token"])
    cost = (item["paid"], _capped_pico(item["paid"] or 0), _capped_pico(item["charged"] or 0))
    price = _price_text(prices.get(item["spec"].get("take_of") or item_id))
    source = outcome_text(item["source"]) if item.get("source") else ""
    reuse = (item.get("reuse_key") or "", item.get("reused_from") or "", source)
    review = _review_text(item.get("review"))
    return (item_id, _spec_text(item["spec"]), *run, *cost, item["found_by"] or "", price, *reuse, review, outcome)


def _review_text(review: Review | None) -> str:
    return json.dumps(asdict(review), ensure_ascii=False) if review else ""


def _capped_pico(amount: str | Decimal | int) -> int:
    return to_pico(min(Decimal(amount), MAX_USD))


def _price_text(price: Decimal | None) -> str:
    return "" if price is None else str(_capped_pico(price))


def _spec_text(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
