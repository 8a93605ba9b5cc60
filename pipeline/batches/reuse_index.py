"""The index of outputs that were bought, rebuilt from the results of all batches on S3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.domain.ids import is_batch_id, is_item_id
from pipeline.domain.media_types import stored_type
from pipeline.domain.model import ItemRow, Output
from pipeline.domain.results import item_document, row_from_document
from pipeline.domain.states import ItemState
from pipeline.errors import DailiesError, InvalidSettings, StorageError, Unreachable
from pipeline.ledger.records import Source
from pipeline.ledger.reusable import ReusableStore
from pipeline.storage.s3 import Storage, join

_RESULTS = "results.jsonl"
_MAX_LINE_BYTES = 8 * 1024 * 1024
_DIGEST_CHARS = 32


@dataclass
class ReindexReport:
    """What a rebuild found. `damaged`: batch id → why its results cannot be read."""

    batches: int = 0
    items: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


def reindex(storage: Storage, reusable: ReusableStore, output: str | None) -> ReindexReport:
    """Add what the batches under `output` have bought to the index, but for rejected takes. Nothing else is removed.

    A batch whose results cannot be read is skipped and reported. Raises InvalidSettings, StorageError, Unreachable.
    """
    if not output:
        raise InvalidSettings("There is no folder to search. Set PIPELINE_OUTPUT=s3://bucket/prefix/.")
    report = ReindexReport()
    rejected: list[tuple[str, str]] = []
    for folder in storage.folders(output):
        batch_id = folder.rstrip("/").rpartition("/")[2]
        if is_batch_id(batch_id):
            try:
                _add_batch(storage, reusable, folder, batch_id, report, rejected)
            except Unreachable:
                raise
            except Exception as error:
                if isinstance(error, StorageError) and error.retryable:
                    raise
                # The other batches go on.
                report.damaged[batch_id] = _reason(error)
    # Last, because a review that rejects a copy rejects the outputs of another batch.
    reusable.remove(rejected)
    return report


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, DailiesError | ValueError) else f"{type(error).__name__}: {error}"


def _add_batch(
    storage: Storage,
    reusable: ReusableStore,
    folder: str,
    batch_id: str,
    report: ReindexReport,
    rejected: list[tuple[str, str]],
) -> None:
    info = next((one for one in storage.list(join(folder, _RESULTS)) if one.uri == join(folder, _RESULTS)), None)
    if info is None or info.modified is None:
        return
    bought: list[tuple[str, Source]] = []
    for row in _rows(storage, info.uri):
        if row.status != ItemState.SUCCEEDED or not _is_digest(row.reuse_key) or not is_item_id(row.id):
            continue
        item = row.reused_from or f"{batch_id}/{row.id}"
        if row.review and row.review.mark == "rejected":
            rejected.append((row.reuse_key or "", item))
        elif row.reused_from is None and _are_ours(row, folder):
            bought.append((row.reuse_key or "", Source(item, row.task_id or "", _outcome(row))))
    reusable.add(bought, info.modified)
    report.batches += 1
    report.items += len(bought)


def _rows(storage: Storage, uri: str) -> Iterator[ItemRow]:
    """Yield the rows of results. Raises ValueError, TypeError, KeyError, AttributeError, ArithmeticError."""
    with storage.open(uri) as lines:
        number = 0
        while line := lines.readline(_MAX_LINE_BYTES):
            number += 1
            document = _document(line, f"{uri}:{number}")
            yield row_from_document(document)


def _document(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError(f"{place}: The line is no JSON object.")
    return document


def _is_digest(key: str | None) -> bool:
    return key is not None and len(key) == _DIGEST_CHARS and key.isalnum()


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
