"""Whether S3 has all of a batch that `recover` needs: the manifest, and results that are current and complete."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.results import LINES, RESULTS, item_line, money
from pipeline.errors import OperationFailed, ResultsDiffer
from pipeline.storage.object_lines import lines
from pipeline.storage.s3 import Storage, join

_NEW_FIELDS = ("charged_usd", "run", "reuse_key", "reused_from")
"""Fields of rows that results of an earlier version lack."""
_ROWS = b',"items":['


class ResultsHead(BaseModel):
    """What results.json has about the whole batch."""

    id: str
    revision: int
    status: str
    total: int
    counts: dict[str, int]
    cost_usd: str
    reason: str | None = None


@dataclass(frozen=True)
class ResultsCheck:
    """Results that are complete. `is_outdated`: their rows lack what an earlier version did not write."""

    head: ResultsHead
    is_outdated: bool


def check_results(storage: Storage, batch: BatchRow, rows: Iterable[ItemRow] | None) -> ResultsCheck:
    """Compare results.json and results.jsonl with the ledger. `rows` None: only with each other.

    Raises ResultsDiffer, StorageError.
    """
    try:
        return _check(storage, batch, rows)
    except OperationFailed as error:
        if error.retryable:
            raise
        raise ResultsDiffer(str(error)) from None


def _check(storage: Storage, batch: BatchRow, rows: Iterable[ItemRow] | None) -> ResultsCheck:
    uri = join(batch.output, RESULTS)
    json_lines = (line for _, line in lines(storage, uri))
    head = _head(uri, next(json_lines, b""))
    _check_head(uri, head, batch, is_whole=rows is not None)
    jsonl_lines = (line for _, line in lines(storage, join(batch.output, LINES)))
    expected = None if rows is None else map(item_line, rows)
    is_outdated, number = False, 0
    for number, (row, one, other) in enumerate(_rows(expected, jsonl_lines, json_lines), 1):
        if not one == other == row:
            is_outdated = _is_outdated(batch, number, row, one, other) or is_outdated
    if number != head.total:
        raise ResultsDiffer(f"{uri} has {number:,} items, but its `total` is {head.total:,}.")
    return ResultsCheck(head, is_outdated)


def _head(uri: str, line: bytes) -> ResultsHead:
    try:
        if not line.endswith(_ROWS):
            raise ValueError("its first line is not that of this service")
        return ResultsHead.model_validate_json(line.removesuffix(_ROWS) + b"}")
    except ValueError as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise ResultsDiffer(f"{uri} cannot be read: {reason}.") from None


def _check_head(uri: str, head: ResultsHead, batch: BatchRow, *, is_whole: bool) -> None:
    """`is_whole`: the counts of the batch in Redis are those of all its items."""
    pairs: list[tuple[str, object, object]] = [
        ("id", head.id, batch.id),
        ("revision", head.revision, batch.revision),
        ("status", head.status, batch.status),
    ]
    if is_whole:
        pairs += [
            ("total", head.total, batch.total),
            ("counts", head.counts, dict(batch.counts)),
            ("cost_usd", head.cost_usd, money(batch.cost_usd)),
        ]
    for name, found, expected in pairs:
        if found != expected:
            raise ResultsDiffer(f"{uri}: {name} is {found}, and {expected} in Redis.")


def _rows(
    expected: Iterator[bytes] | None, jsonl: Iterator[bytes], json_rows: Iterator[bytes]
) -> Iterator[tuple[bytes | None, bytes | None, bytes | None]]:
    """Yield the lines of each item: as the ledger has it, of results.jsonl, of results.json. None: there is no line."""
    inner = (line.removesuffix(b",") for line in json_rows if line != b"]}")
    if expected is None:
        yield from ((one, one, other) for one, other in zip_longest(jsonl, inner))
    else:
        yield from zip_longest(expected, jsonl, inner)


def _is_outdated(batch: BatchRow, number: int, *rows: bytes | None) -> bool:
    """Return whether rows differ only in fields that an earlier version did not write. Raises ResultsDiffer."""
    place = f"{batch.output}{LINES}, line {number:,}"
    try:
        documents: list[dict[str, Any]] = [json.loads(row or b"") for row in rows]
        older = [{key: value for key, value in row.items() if key not in _NEW_FIELDS} for row in documents]
    except (ValueError, AttributeError, RecursionError):
        raise ResultsDiffer(f"{place}: The row is missing or damaged, there or in {RESULTS}.") from None
    if not older[0] == older[1] == older[2]:
        raise ResultsDiffer(f"{place}: The row, or that in {RESULTS}, is not what Redis has of the item.")
    return not documents[0] == documents[1] == documents[2]
