"""Reads whose work is bounded, however large a batch is."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from pipeline.domain.model import BatchRow, ItemRow
from pipeline.errors import NoSuchBatch
from pipeline.ledger.items import read_items
from pipeline.ledger.keys import PREFIX, batch_key
from pipeline.ledger.records import batch_row
from pipeline.ledger.scripts import ScriptRunner

MARKS = ("approved", "rejected")
MAX_SCANNED_ITEMS = 4000
"""As many items as one page of a filtered list looks at: a few milliseconds of the server."""


@dataclass(frozen=True)
class BatchPage:
    """Batches, newest first; `after` of the next page, None when this is the last."""

    batches: list[BatchRow]
    next: str | None


@dataclass(frozen=True)
class ItemPage:
    """Items in manifest order; the position at which the next page begins, None when this is the last.

    A page of a filtered list may have fewer items than asked for, or none, and still not be the last.
    """

    items: list[ItemRow]
    next: int | None


class QueryStore:
    """Lists and pages of batches and items. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def recent_batches(self, limit: int = 50) -> list[BatchRow]:
        """The newest batches, newest first."""
        ids = self._redis.zrange(f"{PREFIX}batches", 0, limit - 1, desc=True)
        with self._redis.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hgetall(batch_key(batch_id))
            answers = pipe.execute()
        return [batch_row(batch_id, fields) for batch_id, fields in zip(ids, answers, strict=True) if fields]

    def batch_page(self, limit: int, *, after: str | None = None) -> BatchPage:
        """At most `limit` batches, newest first, those behind the batch `after`. Raises NoSuchBatch."""
        first = 0
        if after is not None:
            rank = self._redis.zrevrank(f"{PREFIX}batches", after)
            if rank is None:
                raise NoSuchBatch(after)
            first = rank + 1
        ids = self._redis.zrange(f"{PREFIX}batches", first, first + limit, desc=True)
        with self._redis.pipeline(transaction=False) as pipe:
            for batch_id in ids[:limit]:
                pipe.hgetall(batch_key(batch_id))
            answers = pipe.execute()
        rows = [batch_row(batch_id, fields) for batch_id, fields in zip(ids[:limit], answers, strict=True) if fields]
        return BatchPage(rows, ids[limit - 1] if len(ids) > limit else None)

    def item_page(
        self,
        batch_id: str,
        limit: int,
        *,
        first: int = 0,
        states: Collection[str] = (),
        text: str = "",
        mark: str = "",
    ) -> ItemPage:
        """At most `limit` items from position `first` on, in any of `states` and with `text` in id, image or prompt.

        `mark`: only with this verdict, one of MARKS, or `none`: what has succeeded and nobody has judged. Raises
        NoSuchBatch.
        """
        if not self._redis.exists(batch_key(batch_id)):
            raise NoSuchBatch(batch_id)
        # Specs are JSON: the text is looked for as it stands there, its ASCII letters in any case.
        needle = _lower(json.dumps(text, ensure_ascii=False)[1:-1])
        following, ids = self._scripts.run(
            "page_items", batch_id, first, MAX_SCANNED_ITEMS, limit, needle, mark, *states
        )
        return ItemPage(read_items(self._redis, batch_id, ids), None if following < 0 else following)

    def review_counts(self, batch_id: str) -> dict[str, int]:
        """{verdict: how many items of a batch have it}"""
        numbers = self._redis.hmget(batch_key(batch_id), [f"marked:{mark}" for mark in MARKS])
        return {mark: max(0, int(number or 0)) for mark, number in zip(MARKS, numbers, strict=True)}


def _lower(text: str) -> str:
    """Lower-case ASCII letters alone, as the server does it."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
