"""The items of a batch: from the ledger, or from results.jsonl on S3 if the batch is archived."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

from pipeline.batches.stored_rows import stored_rows
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.results import LINES
from pipeline.errors import NoSuchItem
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.queries import MAX_SCANNED_ITEMS, ItemPage
from pipeline.storage.s3 import Storage, join


class BatchItems:
    """Reads items with little memory, however large a batch is. Thread-safe.

    Methods raise Unreachable, and of an archived batch StorageError, DamagedRecord.
    """

    def __init__(self, ledger: Ledger, storage: Storage) -> None:
        self._ledger = ledger
        self._storage = storage

    def stream(self, batch: BatchRow, states: Collection[str] | None = None) -> Iterator[ItemRow]:
        """Yield items in manifest order; only those in `states` unless it is None."""
        if batch.archived is None:
            return self._ledger.items.stream(batch.id, states)
        return (row for _, row in self._rows(batch) if states is None or row.status in states)

    def get(self, batch: BatchRow, item_id: str, *, position: int | None = None) -> ItemRow:
        """Return one item. `position`: where `page` found it, if the batch is archived. Raises NoSuchItem."""
        if batch.archived is None:
            return self._ledger.items.get(batch.id, item_id)
        if position is not None:
            _, row = next(self._rows(batch, position), (0, None))
            if row is not None and row.id == item_id:
                return row
        return self.archived_item(batch, item_id)[1]

    def archived_item(self, batch: BatchRow, item_id: str) -> tuple[int, ItemRow]:
        """Return (position, item) of an item of an archived batch. Raises NoSuchItem."""
        found = next(((position, row) for position, row in self._rows(batch) if row.id == item_id), None)
        if found is None:
            raise NoSuchItem(batch.id, item_id)
        return found

    def select(self, batch: BatchRow, item_ids: Sequence[str]) -> Iterator[ItemRow]:
        """Yield some items, each once. Raises NoSuchItem."""
        if batch.archived is None:
            yield from (self._ledger.items.get(batch.id, item_id) for item_id in dict.fromkeys(item_ids))
            return
        missing = dict.fromkeys(item_ids)
        for _, row in self._rows(batch):
            if row.id in missing:
                del missing[row.id]
                yield row
            if not missing:
                return
        raise NoSuchItem(batch.id, next(iter(missing)))

    def page(
        self,
        batch: BatchRow,
        limit: int,
        *,
        first: int = 0,
        states: Collection[str] = (),
        text: str = "",
        mark: str = "",
    ) -> ItemPage:
        """Return a page as `QueryStore.item_page` does. Positions in an archived batch are bytes of results.jsonl."""
        if batch.archived is None:
            return self._ledger.queries.item_page(batch.id, limit, first=first, states=states, text=text, mark=mark)
        page = self.archived_page(batch, limit, first=first, states=states, text=text, mark=mark)
        return ItemPage([row for _, row in page[0]], page[1])

    def archived_page(
        self,
        batch: BatchRow,
        limit: int,
        *,
        first: int = 0,
        states: Collection[str] = (),
        text: str = "",
        mark: str = "",
    ) -> tuple[list[tuple[int, ItemRow]], int | None]:
        """Return (position, item) of the items of one page of an archived batch, and where the next page begins."""
        found: list[tuple[int, ItemRow]] = []
        for number, (position, row) in enumerate(self._rows(batch, first)):
            if len(found) == limit or number == MAX_SCANNED_ITEMS:
                return found, position
            if (not states or row.status in states) and _has_mark(row, mark) and _has_text(row, text):
                found.append((position, row))
        return found, None

    def _rows(self, batch: BatchRow, start: int = 0) -> Iterator[tuple[int, ItemRow]]:
        return stored_rows(self._storage, join(batch.output, LINES), start=start)


def _has_mark(row: ItemRow, mark: str) -> bool:
    if mark == "none":
        return row.review is None and row.status == "succeeded"
    return not mark or (row.review is not None and row.review.mark == mark)


def _has_text(row: ItemRow, text: str) -> bool:
    """As the ledger searches: in id, image, prompt and params; the case of letters is ignored."""
    if not text:
        return True
    params = json.dumps(row.params, ensure_ascii=False)
    return any(text.lower() in (part or "").lower() for part in (row.id, row.image, row.prompt, params))
