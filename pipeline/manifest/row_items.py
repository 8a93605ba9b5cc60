"""The cells of a row as an item. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.domain.plain_text import strip_blanks
from pipeline.manifest.columns import VALUES, Column, Use
from pipeline.manifest.readable_names import NumberedIds, slug
from pipeline.manifest.yaml.decoder import shown

_ATTACHMENT = re.compile(r"\((https?://[^\s]+?)\)\s*(?:,|$)", re.I)
"""An image in Airtable's exports: `name (https://…)`, several with commas between them."""
_TEXT_FORMULA = re.compile(r'="((?:[^"]|"")*)"')
"""How programs keep a spreadsheet from changing a text: `="007"`."""
_FORMULA = re.compile(r"=(?![=>])\s*\S.*", re.S)
_FORMULA_ERROR = re.compile(
    r"#N/A|#NV|#N/D|#[\u00a1\u00bf]?[A-Z\u00c0-\u00de][A-Z\u00c0-\u00de0-9/ ]*[!?]"
    r"|#GETTING_DATA|#{4,}|Err:\d{3}|Loading\.\.\."
)
"""What a spreadsheet shows, and exports, where a formula failed or is not done, in any language: `#WERT!`, `#NOM?`."""
_TOTAL = re.compile(
    r"(?:sub|sous-|grand |zwischen|gesamt)?"
    r"(?:totals?|totale|total g\u00e9n\u00e9ral|sums?|summen?|gesamt|somme|suma|average|mittelwert|moyenne)\b"
    r"[\s\d:.,\u20ac$-]*",
    re.I,
)
"""The beginning of the row below a table that adds it up."""
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
        values = self._without_formulas(line, columns, cells)
        for column, cell in zip(columns, values, strict=False):
            if cell is None or (isinstance(cell, str) and not strip_blanks(cell)):
                continue
            if column.use is Use.PARAM:
                params[column.key] = strip_blanks(cell) if isinstance(cell, str) else cell
            elif column.use is Use.PROMPT or (column.use in VALUES and not isinstance(cell, str)):
                item[column.key] = cell
            elif column.use is not Use.IGNORED:
                self._add_text(item, line, column, strip_blanks(str(cell)))
        if params:
            item["params"] = params
        if "image" not in item and (total := _total(columns, values)):
            self._add_problem(line, f"{shown(total)} looks like a row that adds up the others: delete it", 1)
        return item

    def _without_formulas(self, line: int, columns: Sequence[Column], cells: Sequence[Any]) -> list[Any]:
        """Return cells with the text of `="text"`; none if formulas that failed are all that the row has."""
        values = [_plain_text(cell) if isinstance(cell, str) and cell[:1] == "=" else cell for cell in cells]
        wrong = [
            (column, value)
            for column, value in zip(columns, values, strict=False)
            if column.use in VALUES and isinstance(value, str) and _is_formula(value)
        ]
        if not wrong:
            return values
        if all(_is_left_over(value) for value in values):
            return []
        for column, value in wrong:
            self._add_problem(line, f"{column.header} has {shown(value)}, a formula or its error: write its value", 1)
        return values

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


def _plain_text(cell: str) -> str:
    text = _TEXT_FORMULA.fullmatch(strip_blanks(cell))
    return text[1].replace('""', '"') if text else cell


def _is_formula(value: str) -> bool:
    text = strip_blanks(value)
    return bool(_FORMULA.fullmatch(text) if text[:1] == "=" else _FORMULA_ERROR.fullmatch(text))


def _total(columns: Sequence[Column], values: Sequence[Any]) -> str:
    """Return the first text of a row if it is that of totals in a table of images, '' if it is not."""
    if all(column.use is not Use.IMAGE for column in columns):
        return ""
    first = next((text for value in values if isinstance(value, str) and (text := strip_blanks(value))), "")
    return first if _TOTAL.fullmatch(first) else ""


def _is_left_over(value: Any) -> bool:
    """Return whether a cell is blank, or a formula that failed: rows of such cells are left below a table."""
    text = "" if value is None else strip_blanks(str(value))
    return not text or _FORMULA_ERROR.fullmatch(text) is not None
