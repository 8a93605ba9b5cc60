"""results.json, results.jsonl, results.csv, and the JSON of commands and API. Pure.

Money is decimal text, times are RFC 3339 UTC, sizes are bytes. A batch may have 100,000 items, so documents of all
items are iterators of bytes.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pipeline.domain.model import BatchRow, ItemRow, Output, Review
from pipeline.domain.money import plain_usd

VERSION = 1
RESULTS = "results.json"
LINES = "results.jsonl"

_COLUMNS = (
    "id", "status", "image", "prompt", "params", "task_id", "attempts", "cost_usd", "elapsed_s", "error", "outputs",
    "review", "note", "take_of", "found_by", "reused_from",
)  # fmt: skip
_FORMULA_SIGNS = frozenset("=+-@\u2212")
"""The last one is the minus sign of typography."""
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_REVISION = re.compile(rb'^\{"version":1,"revision":(\d{1,9}),')
HEAD_BYTES = 64
"""Number of first bytes of results.json that contain its revision."""


def results_uri(batch: BatchRow) -> str:
    """Return the URI of the results manifest, which exists after the batch has ended: `s3://…/results.json`."""
    return f"{batch.output}{RESULTS}"


def money(usd: Decimal) -> str:
    """Format US dollars as decimal text, without trailing zeros."""
    return plain_usd(usd)


def timestamp(time: datetime | None) -> str | None:
    """Format an aware time as RFC 3339 in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else None


def item_document(row: ItemRow) -> dict[str, Any]:
    """Return the JSON of an item: one line of results.jsonl.

    `review`, `take_of`, `found_by`, `reused_from` and `reuse_key` are only present if set, `charged_usd` if it is not
    0, and `run` if it is not `attempts`.
    """
    document = {
        "id": row.id,
        "status": row.status,
        "image": row.image,
        "prompt": row.prompt,
        "params": dict(row.params),
        "task_id": row.task_id,
        "attempts": row.attempts,
        "cost_usd": money(row.cost_usd),
        "elapsed_s": None if row.elapsed_s is None else float(row.elapsed_s),
        "error": row.error,
        "outputs": [output_document(output) for output in row.outputs],
    }
    if row.review:
        document["review"] = {"mark": row.review.mark, "note": row.review.note}
    if row.take_of:
        document["take_of"] = row.take_of
    if row.found_by:
        document["found_by"] = row.found_by
    if row.charged_usd:
        document["charged_usd"] = money(row.charged_usd)
    if row.run and row.run != row.attempts:
        document["run"] = row.run
    if row.reused_from:
        document["reused_from"] = row.reused_from
    if row.reuse_key:
        document["reuse_key"] = row.reuse_key
    return document


def output_document(output: Output) -> dict[str, Any]:
    """Return the JSON of one output file."""
    return {
        "uri": output.uri,
        "content_type": output.content_type,
        "size": output.size,
        "sha256": output.sha256,
    }


def row_from_document(document: Mapping[str, Any]) -> ItemRow:
    """Return the row that `item_document` was made from."""
    elapsed = document.get("elapsed_s")
    return ItemRow(
        id=document["id"],
        status=document["status"],
        image=document.get("image"),
        prompt=document.get("prompt"),
        params=document.get("params") or {},
        task_id=document.get("task_id"),
        attempts=int(document.get("attempts") or 0),
        cost_usd=Decimal(document.get("cost_usd") or 0),
        elapsed_s=None if elapsed is None else Decimal(str(elapsed)),
        error=document.get("error"),
        outputs=tuple(Output(**output) for output in document.get("outputs") or ()),
        review=Review(**document["review"]) if document.get("review") else None,
        take_of=document.get("take_of"),
        found_by=document.get("found_by"),
        charged_usd=Decimal(document.get("charged_usd") or 0),
        run=document.get("run"),
        reused_from=document.get("reused_from"),
        reuse_key=document.get("reuse_key"),
    )


def item_line(row: ItemRow) -> bytes:
    """Return the JSON of an item as it stands in results.jsonl and results.json, without the end of the line."""
    return _json(item_document(row))


def as_jsonl(rows: Iterable[ItemRow]) -> Iterator[bytes]:
    """Yield results.jsonl, one line for each item."""
    for row in rows:
        yield item_line(row) + b"\n"


def as_csv(rows: Iterable[ItemRow]) -> Iterator[bytes]:
    """Yield results.csv, with a header line. `params` is JSON; `outputs` are URIs separated by spaces.

    It begins with a byte order mark: without one, Excel takes UTF-8 for Windows-1252. Python reads it as `utf-8-sig`.
    """
    yield codecs.BOM_UTF8 + _csv_line(_COLUMNS)
    for row in rows:
        document = item_document(row)
        document["params"] = _json(document["params"]).decode()
        document["outputs"] = " ".join(output.uri for output in row.outputs)
        document["review"] = row.review.mark if row.review else None
        document["note"] = row.review.note if row.review else None
        document |= {"take_of": row.take_of, "found_by": row.found_by, "reused_from": row.reused_from}
        yield _csv_line([_cell(document[column]) for column in _COLUMNS])


def as_json(batch: BatchRow, rows: Iterable[ItemRow]) -> Iterator[bytes]:
    """Yield results.json of an ended batch. It starts with version and revision, see `revision_of`."""
    head = {
        "version": VERSION,
        "revision": batch.revision,
        "id": batch.id,
        "name": batch.name,
        "model": batch.model,
        "status": batch.status,
        "total": batch.total,
        "counts": dict(batch.counts),
        "cost_usd": money(batch.cost_usd),
        "created": timestamp(batch.created),
        "finished": timestamp(batch.finished),
        "trigger": batch.trigger,
        **({"reason": batch.reason} if batch.reason else {}),
    }
    yield _json(head)[:-1] + b',"items":['
    separator = b"\n"
    for row in rows:
        yield separator + item_line(row)
        separator = b",\n"
    yield b"\n]}\n"


def revision_of(head: bytes) -> int:
    """Return the revision of a results.json from its first HEAD_BYTES, 0 if Dailies did not write it."""
    match = _REVISION.match(head)
    return int(match[1]) if match else 0


def _json(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # JSON allows these characters, but some readers split lines at them.
    return text.translate(_LINE_ENDS).encode("utf-8", "replace")


def _cell(value: object) -> str:
    """Return the text of a cell. A leading quote stops spreadsheets from running text as a formula.

    They skip blanks, line ends and characters without a width before a sign, and take full-width signs too.
    """
    text = "" if value is None else str(value)
    if not text or text[0].isalnum():
        return text
    first = next((char for char in text if unicodedata.category(char)[0] not in "CZ"), "")
    is_formula = unicodedata.normalize("NFKC", first)[:1] in _FORMULA_SIGNS
    return f"'{text}" if is_formula or text[0] in "\t\r\n" else text


def _csv_line(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode("utf-8", "replace")
