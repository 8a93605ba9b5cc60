"""Rows of a CSV or JSONL file as items of a manifest, with the line of each. Pure.

Columns are id, image and prompt; any other is a param. An empty cell is the same as none. CSV values are text. A JSONL
row (an object per line) can also have numbers, and `params` as an item has them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pipeline.errors import Problem
from pipeline.manifest.validators import param_name_error
from pipeline.manifest.yaml.decoder import BAD_TEXT, MAX_PROBLEMS, shown
from pipeline.manifest.yaml.document import MAX_BYTES, Document, PathProblem, line_and_column, load
from pipeline.manifest.yaml.positions import Position

_COLUMNS = ("id", "image", "prompt")
_MAX_COLUMNS = 200


@dataclass
class Rows:
    """The rows of a file. `lines` has the line of each of `items`, `columns` the position of each name in a header."""

    file: str
    items: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    columns: dict[str, Position] = field(default_factory=dict)

    def add(self, line: int, item: dict[str, Any]) -> None:
        """Add an item."""
        self.items.append(item)
        self.lines.append(line)

    def add_problem(self, line: int, message: str, column: int = 1) -> None:
        """Add a problem."""
        self.problems.append(Problem(self.file, line, column, message))

    def locate(self, problems: list[PathProblem]) -> list[Problem]:
        """Return problems, whose paths begin with an item's index, with their lines; those of a key at its column."""
        return [Problem(self.file, *self._position(problem), problem.message) for problem in problems]

    def _position(self, problem: PathProblem) -> Position:
        if problem.at_key and self.columns:
            header_line, _ = next(iter(self.columns.values()))
            return self.columns.get(str(problem.path[-1]), (header_line, 1))
        return self.lines[int(problem.path[0])], 1


def read_rows(text: bytes, *, file: str, image_field: str, max_items: int) -> Rows:
    """Return the rows of `file`, whose name ends in .csv or .jsonl. Reading stops after `max_items` + 1 rows."""
    rows = Rows(file)
    if len(text) > MAX_BYTES:
        rows.add_problem(1, f"the file has {len(text):,} bytes: the maximum is {MAX_BYTES:,}")
        return rows
    try:
        has_bad_text = BAD_TEXT.search(text.decode("utf-8")) is not None
    except UnicodeDecodeError as error:
        line, column = line_and_column(text, error.start)
        rows.add_problem(line, f"byte {error.start:,} is not UTF-8: save the file as UTF-8", column)
        return rows
    # Decoded a second time, line by line: a StringIO takes four times the bytes.
    lines = io.TextIOWrapper(io.BytesIO(text), "utf-8-sig", newline="")
    is_csv = file.lower().endswith(".csv")
    for line, item in _csv(rows, lines, image_field, has_bad_text) if is_csv else _jsonl(rows, lines):
        rows.add(line, item)
        if len(rows.items) > max_items or len(rows.problems) >= MAX_PROBLEMS:
            break
    _place_columns(rows, text)
    return rows


def _csv(
    rows: Rows, lines: Iterable[str], image_field: str, has_bad_text: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield items with their lines; add problems to `rows`."""
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    next_line = 1
    try:
        for cells in reader:
            line, next_line = next_line, reader.line_num + 1
            if not any(cells):
                continue
            if has_bad_text and any(map(BAD_TEXT.search, cells)):
                rows.add_problem(line, "control characters are not allowed")
            if header is None:
                header = [cell.strip() for cell in cells]
                if not _check_header(rows, line, header, image_field):
                    return
                rows.columns = dict.fromkeys(header, (line, 1))
            elif len(cells) != len(header):
                message = (
                    f"the row has {len(cells)} cells, the header has {len(header)}: put cells with a comma in quotes"
                )
                rows.add_problem(line, message)
            else:
                yield line, _item(zip(header, cells, strict=True))
    except csv.Error as error:
        rows.add_problem(next_line, f"not CSV: {error}")
    if header is None:
        rows.add_problem(1, "the file is empty: the first line names the columns, such as id,image,prompt")


def _check_header(rows: Rows, line: int, header: list[str], image_field: str) -> bool:
    """Add the problems of a header to `rows`. Return whether it has none."""
    before = len(rows.problems)
    if len(header) > _MAX_COLUMNS:
        rows.add_problem(line, f"there are {len(header)} columns: the maximum is {_MAX_COLUMNS}")
        return False
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        rows.add_problem(line, "columns must be separated by commas: id,image,prompt")
        return False
    for number, name in enumerate(header):
        if name in header[:number]:
            rows.add_problem(line, f"the column {shown(name)} is a duplicate: keep one")
        elif name == "params":
            rows.add_problem(line, "'params' cannot be a column: give each param a column with its name")
        elif name not in _COLUMNS and (error := param_name_error(name, image_field)):
            rows.add_problem(line, f"the column {shown(name)} {error}")
        elif name not in _COLUMNS and name.lower() in _COLUMNS:
            rows.add_problem(line, f"the column {shown(name)} must be written {name.lower()}")
    if not {"image", "prompt"} & set(header) and len(rows.problems) == before:
        message = "there is no column image or prompt: the first line names the columns, such as id,image,prompt"
        rows.add_problem(line, message)
    return len(rows.problems) == before


def _place_columns(rows: Rows, text: bytes) -> None:
    """Find the names of the columns in the header's line."""
    for name, (line, _) in rows.columns.items():
        header = next(islice(io.BytesIO(text), line - 1, None)).decode("utf-8-sig", "replace")
        if found := re.search(rf'(?:^|,)[\s"]*({re.escape(name)})', header):
            rows.columns[name] = (line, found.start(1) + 1)


def _item(cells: Iterable[tuple[str, str]]) -> dict[str, Any]:
    item: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for name, cell in cells:
        if cell != "":
            (item if name in _COLUMNS else params)[name] = cell
    if params:
        item["params"] = params
    return item


def _jsonl(rows: Rows, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield items with their lines; add problems to `rows`."""
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        document = load(text.encode(), file=rows.file)
        for problem in document.problems:
            rows.add_problem(line, problem.message.replace("not YAML", "not JSON"), problem.column)
        if not document.readable:
            continue
        if not isinstance(document.value, dict):
            rows.add_problem(line, 'a line must be an object such as {"image": "…", "prompt": "…"}')
        elif item := _json_item(rows, line, document):
            yield line, item


def _json_item(rows: Rows, line: int, document: Document) -> dict[str, Any] | None:
    """Return an object as an item: keys that are not columns are params."""
    row: dict[str, Any] = document.value
    params = row.get("params") or {}
    if not isinstance(params, dict):
        rows.add_problem(line, "params must be an object", document.position(("params",))[1])
        return None
    item = {name: value for name, value in row.items() if name in _COLUMNS}
    more = {name: value for name, value in row.items() if name not in _COLUMNS and name != "params"}
    for name in more.keys() & params.keys():
        column = document.position((name,), key=True)[1]
        rows.add_problem(line, f"the param {shown(name)} is a duplicate: keep one", column)
    item["params"] = {**params, **more}
    return item
