"""Lists and pages of batches and items. The work of each query is bounded, however large a batch is."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from pipeline.domain.ids import is_batch_id
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.states import ItemState
from pipeline.errors import BatchArchived, DamagedRecord, NoSuchBatch
from pipeline.ledger import keys
from pipeline.ledger.decoding import batch_row
from pipeline.ledger.items import read_items
from pipeline.ledger.keys import batch_key, causes_key
from pipeline.ledger.numbers import whole
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import set_aside, valid_batch_ids

MARKS = ("approved", "rejected")
MAX_SORTED_BATCHES = 5000
"""Batches that are sorted by cost or status at most: a few milliseconds of the server's time."""
MAX_SCANNED_ITEMS = 4000
"""Items that one page of a filtered list scans at most: a few milliseconds of the server's time."""
_SCAN_STEP = 1000
"""How many ids of batches one command of a scan looks at."""


@dataclass(frozen=True)
class BatchPage:
    """Batches, newest first; `next` is the `after` of the next page, None on the last page."""

    batches: list[BatchRow]
    next: str | None


@dataclass(frozen=True)
class ItemPage:
    """Items in manifest order; `next` is the first position of the next page, None on the last page.

    A page of a filtered list may have fewer items than its limit, or none, and not be the last.
    """

    items: list[ItemRow]
    next: int | None


@dataclass(frozen=True)
class ItemCount:
    """How many of the items that were searched match. `next`: where the search goes on, None at the end."""

    found: int
    next: int | None


class BatchOrder(StrEnum):
    """The order of a list of batches."""

    NEWEST = "newest"
    COST = "cost"
    STATUS = "status"


class QueryStore:
    """Lists and pages of batches and items. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def recent_batches(self, limit: int = 50) -> list[BatchRow]:
        """Return the newest batches, newest first."""
        return self.batch_page(limit).batches

    def batch_page(self, limit: int, *, after: str | None = None) -> BatchPage:
        """Return at most `limit` batches older than the batch `after`, newest first. Raises NoSuchBatch."""
        first = 0
        if after is not None:
            rank = self._redis.zrevrank(keys.BATCHES, after)
            if rank is None:
                raise NoSuchBatch(after)
            first = rank + 1
        ids = self._redis.zrange(keys.BATCHES, first, first + limit, desc=True)
        return BatchPage(self._read_batches(ids[:limit]), ids[limit - 1] if len(ids) > limit else None)

    def has_batch(self, batch_id: str) -> bool:
        """Return whether there is a batch with this id."""
        return bool(self._redis.exists(batch_key(batch_id)))

    def newest_ids(self, limit: int) -> list[str]:
        """Return the ids of the newest batches, newest first."""
        return valid_batch_ids(self._scripts, keys.BATCHES, self._redis.zrange(keys.BATCHES, 0, limit - 1, desc=True))

    def ids_with_prefix(self, prefix: str, limit: int) -> list[str]:
        """Return at most `limit` ids of batches that begin with `prefix`, which can be the id of a batch itself."""
        found = self._redis.zscan_iter(keys.BATCHES, match=f"{prefix}*", count=_SCAN_STEP)
        return list(islice(dict.fromkeys(member for member, _ in found if is_batch_id(member)), limit))

    def sorted_batches(self, first: int, limit: int, order: BatchOrder) -> tuple[list[BatchRow], int]:
        """Return at most `limit` batches from position `first` on, and how many there are.

        By cost: the most expensive first. By status: those that need a person first. Only the MAX_SORTED_BATCHES
        newest batches are sorted.
        """
        total, ids = self._scripts.run("batch_order", first, limit, order, MAX_SORTED_BATCHES)
        return self._read_batches(ids), total

    def _read_batches(self, ids: Sequence[str]) -> list[BatchRow]:
        """Return the batches that exist. Those that cannot be read are set aside."""
        valid = valid_batch_ids(self._scripts, keys.BATCHES, ids)
        with self._redis.pipeline(transaction=False) as pipe:
            for batch_id in valid:
                pipe.hgetall(batch_key(batch_id))
            hashes = pipe.execute(raise_on_error=False)
        rows = []
        for batch_id, fields in zip(valid, hashes, strict=True):
            try:
                rows += [batch_row(batch_id, fields)] if fields else []
            except DamagedRecord as error:
                set_aside(self._scripts, keys.BATCHES, batch_id, str(error))
        return rows

    def item_page(
        self,
        batch_id: str,
        limit: int,
        *,
        first: int = 0,
        states: Collection[str] = (),
        text: str = "",
        mark: str = "",
        grouped: bool = False,
    ) -> ItemPage:
        """Return at most `limit` items from position `first` on. Raises NoSuchBatch, BatchArchived.

        `states`: only items in one of them; empty: all. `text`: only items with it in id, image, prompt or params.
        `mark`: only items with this review, one of MARKS; `none`: succeeded items without a review; '': all.
        `grouped`: pass over a take if its first take is found as well, on this or an earlier page.
        """
        created, archived, output = self._redis.hmget(batch_key(batch_id), "created", "archived", "output")
        if created is None:
            raise NoSuchBatch(batch_id)
        if archived is not None:
            raise BatchArchived(batch_id, output or "")
        following, ids, _ = self._scripts.run(
            "item_page", batch_id, first, MAX_SCANNED_ITEMS, limit, _needle(text), mark, "1" if grouped else "", *states
        )
        return ItemPage(read_items(self._redis, batch_id, ids), None if following < 0 else following)

    def count_items(
        self, batch_id: str, *, first: int = 0, states: Collection[str] = (), text: str = "", mark: str = ""
    ) -> ItemCount:
        """Return how many items match, among MAX_SCANNED_ITEMS from position `first` on, with their takes as one."""
        following, _, found = self._scripts.run(
            "item_page", batch_id, first, MAX_SCANNED_ITEMS, 0, _needle(text), mark, "1", *states
        )
        return ItemCount(found, None if following < 0 else following)

    def failure_causes(self, batch_id: str) -> dict[str, int]:
        """Return {cause: number of failed items} of a batch. The cause of an item may not be recorded."""
        counted = self._redis.hgetall(causes_key(batch_id))
        return {cause: whole(number) for cause, number in counted.items()}

    def takes(self, batch_id: str, rows: Sequence[ItemRow]) -> list[tuple[ItemRow, ...]]:
        """Return the takes of each item of `rows`, the first take first. Items with the same first take come once."""
        known = {row.id: row for row in rows}
        firsts = list(dict.fromkeys(row.first_take or row.id for row in rows))
        self._read_missing(batch_id, firsts, known)
        self._read_missing(batch_id, [take for first in firsts for take in known[first].takes], known)
        return [(known[first], *(known[take] for take in known[first].takes)) for first in firsts]

    def _read_missing(self, batch_id: str, ids: Sequence[str], known: dict[str, ItemRow]) -> None:
        missing = [item_id for item_id in ids if item_id not in known]
        known.update((row.id, row) for row in read_items(self._redis, batch_id, missing))

    def to_review_count(self, batch_id: str) -> int:
        """Return how many items of a batch have succeeded and have no review."""
        fields = (f"n:{ItemState.SUCCEEDED}", "marked_early", *(f"marked:{mark}" for mark in MARKS))
        succeeded, early, *marked = (whole(n) for n in self._redis.hmget(batch_key(batch_id), fields))
        return max(0, succeeded + early - sum(marked))

    def review_counts(self, batch_id: str) -> dict[str, int]:
        """Return {mark: number of items with it} of a batch."""
        numbers = self._redis.hmget(batch_key(batch_id), [f"marked:{mark}" for mark in MARKS])
        return {mark: max(0, whole(number)) for mark, number in zip(MARKS, numbers, strict=True)}


def _needle(text: str) -> str:
    """Return the text as JSON writes it, because specs are stored as JSON. The case of ASCII letters is ignored."""
    return _ascii_lower(json.dumps(text, ensure_ascii=False)[1:-1])


def _ascii_lower(text: str) -> str:
    """Lower the ASCII letters only, as Lua does."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
