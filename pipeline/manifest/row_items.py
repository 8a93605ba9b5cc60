"""The cells of a row as an item. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.manifest.columns import VALUES, Column, Use
from pipeline.manifest.readable_names import NumberedIds, slug
from pipeline.manifest.yaml.decoder import shown

_ATTACHMENT = re.compile(r"\((https?://[^\s]+?)\)\s*(?:,|$)", re.I)
"""An image in Airtable's exports: `name (https://…)`, several with commas between them."""
_ADDRESS = re.compile(r"(https?|s3)://", re.I)


class RowItems:
    """Makes items of the rows of one file.

    `add_problem`: is called with a line, a message and a column. What is wrong with a column is a problem once, at the
    first cell that has a value.
    """

    def __init__(self, add_problem: Callable[[int, str, int], None]) -> None:
        self._add_problem = add_problem
        self._ids = NumberedIds()
        self._reported: set[str] = set()

    def item(self, line: int, columns: Sequence[Column], cells: Sequence[Any]) -> dict[str, Any]:
        """Return the values of a row as an item; {} if no column that counts has a value."""
        item: dict[str, Any] = {}
        params: dict[str, Any] = {}
        for column, cell in zip(columns, cells, strict=False):
            if cell is None or cell == "" or (isinstance(cell, str) and cell.isspace()):
                continue
            if column.use is Use.PARAM:
                params[column.key] = cell.strip() if isinstance(cell, str) else cell
            elif column.use is Use.PROMPT or (column.use in VALUES and not isinstance(cell, str)):
                item[column.key] = cell
            elif column.use is not Use.IGNORED:
                self._add_text(item, line, column, str(cell).strip())
        if params:
            item["params"] = params
        return item

    def _add_text(self, item: dict[str, Any], line: int, column: Column, text: str) -> None:
        if column.use is Use.ID:
            item[column.key] = text
        elif column.use is Use.NAME:
            item[column.key] = self._ids.add(slug(text) or "item")
        elif column.use is Use.IMAGE:
            item[column.key] = self._image(line, text)
        elif column.use is Use.UNNAMED:
            self._add_problem(
                line, f"{shown(text)} is in a column without a name: name the column, or clear the cell", 1
            )
        elif column.header not in self._reported:
            self._reported.add(column.header)
            at_line, at_column = column.at or (line, 1)
            self._add_problem(at_line, column.error, at_column)

    def _image(self, line: int, text: str) -> str:
        attachments: list[str] = [] if _ADDRESS.match(text) else _ATTACHMENT.findall(text)
        if len(attachments) > 1:
            self._add_problem(line, f"the cell has {len(attachments)} images: give each a row", 1)
        return attachments[0] if attachments else text
