"""Rows of a CSV or JSONL file as items of a manifest, with the line of each. Pure.

Columns are id, image and prompt; any other is a param. An empty cell is one that is not given. What stands in a CSV
file is text; JSONL, an object a line, has numbers too, and may have `params` as an item has them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import Problem
from pipeline.manifest.values import fault_of_param
from pipeline.manifest.yaml.decoder import BAD_TEXT, MAX_PROBLEMS, shown
from pipeline.manifest.yaml.document import MAX_BYTES, Document, Mistake, line_and_column, load

_COLUMNS = ("id", "image", "prompt")
_MAX_COLUMNS = 200


@dataclass
class Rows:
    """What a file of rows says. `lines` has the line of each of `items`."""

    file: str
    items: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, line: int, item: dict[str, Any]) -> None:
        """One more item."""
        self.items.append(item)
        self.lines.append(line)

    def note(self, line: int, message: str, column: int = 1) -> None:
        """One more mistake."""
        self.problems.append(Problem(self.file, line, column, message))

    def located(self, problems_found: list[Mistake]) -> list[Problem]:
        """Mistakes whose paths begin with an item's index, with their lines."""
        return [Problem(self.file, self.lines[int(mistake.path[0])], 1, mistake.message) for mistake in problems_found]


def read_rows(text: bytes, *, file: str, image_field: str, max_items: int) -> Rows:
    """Read the rows of `file`, whose name ends in .csv or .jsonl. At most `most_items` + 1 of them are read."""
    rows = Rows(file)
    if len(text) > MAX_BYTES:
        rows.note(1, f"it is {len(text):,} bytes long: at most {MAX_BYTES:,} are read")
        return rows
    try:
        suspicious = BAD_TEXT.search(text.decode("utf-8")) is not None
    except UnicodeDecodeError as error:
        line, column = line_and_column(text, error.start)
        rows.note(line, f"byte {error.start:,} is no UTF-8: save the file as UTF-8", column)
        return rows
    # Decoded once more line by line: text in a buffer takes four times its bytes.
    lines = io.TextIOWrapper(io.BytesIO(text), "utf-8-sig", newline="")
    found = _csv(rows, lines, image_field, suspicious) if file.lower().endswith(".csv") else _jsonl(rows, lines)
    for line, item in found:
        rows.add(line, item)
        if len(rows.items) > max_items or len(rows.problems) >= MAX_PROBLEMS:
            break
    return rows


def _csv(rows: Rows, lines: Iterable[str], image_field: str, suspicious: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """Items with their lines; what is wrong is noted on `rows`."""
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    next_line = 1
    try:
        for cells in reader:
            line, next_line = next_line, reader.line_num + 1
            if not any(cells):
                continue
            if suspicious and any(map(BAD_TEXT.search, cells)):
                rows.note(line, "text has no control characters")
            if header is None:
                header = [cell.strip() for cell in cells]
                if not _check_header(rows, line, header, image_field):
                    return
            elif len(cells) != len(header):
                rows.note(
                    line, f"there are {len(cells)} cells where the header has {len(header)} (quote what has a comma)"
                )
            else:
                yield line, _item(zip(header, cells, strict=True))
    except csv.Error as error:
        rows.note(next_line, f"not CSV: {error}")
    if header is None:
        rows.note(1, "there is nothing here: the first line names the columns, such as id,image,prompt")


def _check_header(rows: Rows, line: int, header: list[str], image_field: str) -> bool:
    """Whether the rows below can be made sense of."""
    before = len(rows.problems)
    if len(header) > _MAX_COLUMNS:
        rows.note(line, f"there are {len(header)} columns: at most {_MAX_COLUMNS} are read")
        return False
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        rows.note(line, "columns are separated by commas: id,image,prompt")
        return False
    for number, name in enumerate(header):
        if name in header[:number]:
            rows.note(line, f"the column {shown(name)} is here twice: keep one")
        elif name == "params":
            rows.note(line, "'params' is no column: give each param a column with its name")
        elif name not in _COLUMNS and (fault := fault_of_param(name, image_field)):
            rows.note(line, f"the column {shown(name)} {fault}")
        elif name not in _COLUMNS and name.lower() in _COLUMNS:
            rows.note(line, f"the column {shown(name)} is written {name.lower()}")
    if not {"image", "prompt"} & set(header) and len(rows.problems) == before:
        rows.note(line, "there is no column image or prompt: the first line names the columns, such as id,image,prompt")
    return len(rows.problems) == before


def _item(cells: Any) -> dict[str, Any]:
    item: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for name, cell in cells:
        if cell != "":
            (item if name in _COLUMNS else params)[name] = cell
    if params:
        item["params"] = params
    return item


def _jsonl(rows: Rows, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Items with their lines; what is wrong is noted on `rows`."""
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        document = load(text.encode(), file=rows.file)
        for problem in document.problems:
            rows.note(line, problem.message.replace("not YAML", "not JSON"), problem.column)
        if not document.readable:
            continue
        if not isinstance(document.value, dict):
            rows.note(line, 'a line must be an object such as {"image": "…", "prompt": "…"}')
        elif item := _flat(rows, line, document):
            yield line, item


def _flat(rows: Rows, line: int, document: Document) -> dict[str, Any] | None:
    """An object as an item: what is no column of ours is a param."""
    row: dict[str, Any] = document.value
    params = row.get("params") or {}
    if not isinstance(params, dict):
        rows.note(line, "params must be an object", document.place(("params",))[1])
        return None
    item = {name: value for name, value in row.items() if name in _COLUMNS}
    more = {name: value for name, value in row.items() if name not in _COLUMNS and name != "params"}
    for name in more.keys() & params.keys():
        rows.note(line, f"the param {shown(name)} is here twice: keep one", document.place((name,), key=True)[1])
    item["params"] = {**params, **more}
    return item
