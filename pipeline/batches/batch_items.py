"""The items of a batch: from the ledger, or from results.jsonl on S3 if the batch is archived."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import islice

from pipeline.batches.history_schema import accepts_row
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.results import LINES, row_from_document
from pipeline.errors import DamagedRecord, NoSuchItem
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.queries import MAX_SCANNED_ITEMS, ItemPage
from pipeline.storage.object_lines import lines
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
            for _, row in self._rows(batch, position):
                if row.id == item_id:
                    return row
                break
        for _, row in self._rows(batch):
            if row.id == item_id:
                return row
        raise NoSuchItem(batch.id, item_id)

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
        """Yield the items from position `start` on; in the middle of a line, from the next line on."""
        uri = join(batch.output, LINES)
        found = lines(self._storage, uri, start=max(0, start - 1))
        for position, line in islice(found, 1 if start else 0, None):
            yield position, _row(line, f"{uri}, byte {position:,}")


def _row(line: bytes, place: str) -> ItemRow:
    try:
        document = json.loads(line)
        if isinstance(document, dict) and accepts_row(document):
            return row_from_document(document)
    except (ValueError, RecursionError, DamagedRecord):
        pass
    raise DamagedRecord(f"{place}: The line is no item of this service. Put the file of the archived batch there.")


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
