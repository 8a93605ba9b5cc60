"""The index of outputs that were bought, rebuilt from the results of all batches on S3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.batches.batch_items import BatchItems
from pipeline.batches.reuse_keys import is_reuse_key
from pipeline.batches.stored_rows import stored_rows
from pipeline.domain.ids import is_batch_id
from pipeline.domain.media_types import stored_type
from pipeline.domain.model import ItemRow, Output
from pipeline.domain.results import LINES, item_document
from pipeline.domain.states import ItemState
from pipeline.errors import DailiesError, InvalidSettings, NoSuchBatch, StorageError, Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Source
from pipeline.storage.s3 import Storage, join


@dataclass
class ReindexReport:
    """What a rebuild found. `damaged`: batch id → why its results cannot be read."""

    batches: int = 0
    items: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


def reindex(storage: Storage, ledger: Ledger, output: str | None) -> ReindexReport:
    """Add what the batches under `output` have bought to the index, but for rejected takes. Nothing else is removed.

    A batch whose results cannot be read is skipped and reported. Raises InvalidSettings, StorageError, Unreachable.
    """
    if not output:
        raise InvalidSettings("There is no folder to search. Set PIPELINE_OUTPUT=s3://bucket/prefix/.")
    return _Reindex(storage, ledger).run(output)


class _Reindex:
    def __init__(self, storage: Storage, ledger: Ledger) -> None:
        self._storage = storage
        self._ledger = ledger
        self._items = BatchItems(ledger, storage)
        self._rejected: set[tuple[str, str]] = set()
        self._report = ReindexReport()

    def run(self, output: str) -> ReindexReport:
        # The newest results first: a copy that is rejected comes before the item that it was copied from.
        for bought_at, folder in sorted(self._results(output), reverse=True):
            batch_id = folder.rstrip("/").rpartition("/")[2]
            try:
                self._add_batch(folder, batch_id, bought_at)
            except Unreachable:
                raise
            except Exception as error:
                if isinstance(error, StorageError) and error.retryable:
                    raise
                # The other batches go on.
                self._report.damaged[batch_id] = _reason(error)
        self._ledger.reusable.remove(self._rejected)
        return self._report

    def _results(self, output: str) -> Iterator[tuple[datetime, str]]:
        """Yield (time of its results, folder) of each batch that has ended once."""
        for folder in self._storage.folders(output):
            if is_batch_id(folder.rstrip("/").rpartition("/")[2]):
                uri = join(folder, LINES)
                info = next((one for one in self._storage.list(uri) if one.uri == uri), None)
                if info and info.modified:
                    yield info.modified, folder

    def _add_batch(self, folder: str, batch_id: str, bought_at: datetime) -> None:
        bought: list[tuple[str, Source]] = []
        for row in self._rows(folder, batch_id):
            if row.status != ItemState.SUCCEEDED or row.reuse_key is None or not is_reuse_key(row.reuse_key):
                continue
            item = row.reused_from or f"{batch_id}/{row.id}"
            if row.review and row.review.mark == "rejected":
                self._rejected.add((row.reuse_key, item))
            elif row.reused_from is None and (row.reuse_key, item) not in self._rejected and _are_ours(row, folder):
                bought.append((row.reuse_key, Source(item, row.task_id or "", _outcome(row))))
        self._ledger.reusable.add(bought, bought_at)
        self._report.batches += 1
        self._report.items += len(bought)

    def _rows(self, folder: str, batch_id: str) -> Iterator[ItemRow]:
        """Return the items of a batch: those in the ledger have reviews that the results may lack."""
        try:
            batch = self._ledger.batches.get(batch_id)
        except NoSuchBatch:
            batch = None
        if batch is not None and batch.output == folder:
            return self._items.stream(batch)
        return (row for _, row in stored_rows(self._storage, join(folder, LINES)))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, DailiesError) else f"{type(error).__name__}: {error}"


def _are_ours(row: ItemRow, folder: str) -> bool:
    """Return whether all outputs are where this service puts them: others may write to the bucket, too."""
    return bool(row.outputs) and all(_is_ours(output, join(folder, "items/", f"{row.id}/")) for output in row.outputs)


def _is_ours(output: Output, prefix: str) -> bool:
    name = output.uri.removeprefix(prefix)
    is_below = output.uri.startswith(prefix) and "/" not in name
    return is_below and output.content_type == stored_type(output.content_type).media_type


def _outcome(row: ItemRow) -> dict[str, Any]:
    document = item_document(row)
    return {"status": row.status, "elapsed_s": document["elapsed_s"], "outputs": document["outputs"]}
