"""A file of rows that was dropped on the page of a new batch: what its columns mean, and its items. Pure."""

from __future__ import annotations

from typing import Any

from pipeline.manifest.columns import Column, ColumnRules, Use
from pipeline.manifest.model_check import SchemaOf, model_check
from pipeline.manifest.rows import Rows, read_rows
from pipeline.manifest.validators import DEFAULT_IMAGE_FIELD, MAX_ITEMS

_ADVICE = "Ignore the column, or delete it in the file."
_MAX_SHOWN = 200
"""How many errors are returned."""


def dropped_rows(
    data: bytes, *, file: str, model: str, ignored: tuple[str, ...], schema_of: SchemaOf
) -> dict[str, Any]:
    """Return the columns, notes, errors and items of a file; no items if there are errors. It is read as by `submit`.

    `file`: its name, which ends in .csv, .tsv or .jsonl. `ignored`: names of columns.
    """
    check, _ = model_check({"model": model}, schema_of)
    rules = ColumnRules(
        check.image_field if check else DEFAULT_IMAGE_FIELD,
        check.model if check else model,
        check.names if check else None,
        ignored,
        _ADVICE,
    )
    rows = read_rows(data, file=file, rules=rules, max_items=MAX_ITEMS)
    return {
        "columns": [_column(column, rows) for column in rows.mapping],
        "notes": rows.notes,
        "errors": [
            {"line": problem.line, "column": problem.column, "message": problem.message}
            for problem in rows.problems[:_MAX_SHOWN]
        ],
        "items": [] if rows.problems else rows.items,
    }


def _column(column: Column, rows: Rows) -> dict[str, Any]:
    is_wrong = bool(column.error) and any(problem.message == column.error for problem in rows.problems)
    return {
        "header": column.header,
        "meaning": column.error if is_wrong else column.meaning,
        "is_wrong": is_wrong,
        "is_ignored": column.use is Use.IGNORED,
        "can_be_ignored": column.use in (Use.PARAM, Use.WRONG, Use.IGNORED),
    }
