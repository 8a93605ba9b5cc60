"""The rows of results.jsonl on S3, as items. Little of the file is in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from pipeline.batches.history_schema import accepts_row
from pipeline.domain.model import ItemRow
from pipeline.domain.results import row_from_document
from pipeline.errors import DamagedRecord
from pipeline.storage.object_lines import lines
from pipeline.storage.s3 import Storage


def stored_rows(storage: Storage, uri: str, *, start: int = 0) -> Iterator[tuple[int, ItemRow]]:
    """Yield (position in bytes, item) from position `start` on; in the middle of a line, from the next line on.

    Raises DamagedRecord, StorageError.
    """
    found = lines(storage, uri, start=max(0, start - 1))
    for position, line in islice(found, 1 if start else 0, None):
        yield position, _row(line, f"{uri}, byte {position:,}")


def _row(line: bytes, place: str) -> ItemRow:
    try:
        document = json.loads(line)
        if isinstance(document, dict) and accepts_row(document):
            return row_from_document(document)
    except (ValueError, RecursionError, DamagedRecord):
        pass
    raise DamagedRecord(f"{place}: The line is no item of this service. Put the file of the batch there.")
