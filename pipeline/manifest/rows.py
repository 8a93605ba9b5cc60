"""Rows of a CSV, TSV or JSONL file as items of a manifest, with the line of each. Pure.

What the columns mean is in columns.py. A blank cell is the same as none. CSV values are text. A JSONL row (an object
per line) can also have numbers, and `params` as an item has them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from pipeline.domain.plain_text import strip_blanks
from pipeline.errors import Problem
from pipeline.manifest.columns import MAX_COLUMNS, VALUES, Column, ColumnRules, Use
from pipeline.manifest.csv_table import DELIMITERS, MAX_TITLES, CsvError, CsvTable
from pipeline.manifest.encodings import WINDOWS, UnknownEncoding, detect_encoding
from pipeline.manifest.file_formats import foreign_format
from pipeline.manifest.row_items import RowItems
from pipeline.manifest.yaml.decoder import BAD_TEXT, MAX_PROBLEMS, shown
from pipeline.manifest.yaml.document import MAX_BYTES, Document, PathProblem, line_and_column, load
from pipeline.manifest.yaml.positions import Position

_PARAMS = "params"
_ODD_QUOTE = re.compile(r"""\s*['\u2018-\u201f\u00ab]|\s+\"""")
"""The beginning of a cell whose quotes are no quotes of CSV."""
_ODD_JSON_QUOTE = re.compile(r"\{\s*[\u2018-\u201f]")
_NON_ASCII = re.compile(r"[^\r\n]{0,20}[^\x00-\x7f][^\r\n]{0,20}")


@dataclass
class Rows:
    """The rows of a file. `lines` has the line of each of `items`."""

    file: str
    items: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    columns: dict[str, Position] = field(default_factory=dict)
    """The position of the header of each key of items and each parameter."""
    mapping: list[Column] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Notes about the file for the person who submits it."""

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


def read_rows(text: bytes, *, file: str, rules: ColumnRules, max_items: int) -> Rows:
    """Return the rows of `file`; its name ends in .csv, .tsv or .jsonl. Reading stops after `max_items` + 1 rows."""
    rows = Rows(file)
    if len(text) > MAX_BYTES:
        rows.add_problem(1, f"the file has {len(text):,} bytes: the maximum is {MAX_BYTES:,}")
        return rows
    if message := foreign_format(text):
        rows.add_problem(1, f"this {message}")
        return rows
    try:
        encoding = detect_encoding(text)
    except UnknownEncoding as error:
        line, column = line_and_column(text, error.offset)
        rows.add_problem(line, str(error), column)
        return rows
    characters = text.decode(encoding)
    has_bad_text = BAD_TEXT.search(characters) is not None
    if encoding == WINDOWS and (example := _NON_ASCII.search(characters)):
        rows.notes.append(f"{file} is not UTF-8, it was read as Windows-1252. Check its letters: {example[0]!r}")
    del characters
    is_jsonl = file.lower().endswith(".jsonl")
    items = _jsonl(rows, text, encoding, rules) if is_jsonl else _csv(rows, text, encoding, rules, has_bad_text)
    for line, item in items:
        rows.add(line, item)
        if len(rows.items) > max_items or len(rows.problems) >= MAX_PROBLEMS:
            break
    if rules.parameters is None and (params := [one.param for one in rows.mapping if one.use is Use.PARAM]):
        rows.notes.append(f"{file}: sent to the model as parameters, without a check: {', '.join(params)}")
    return rows


def _csv(
    rows: Rows, data: bytes, encoding: str, rules: ColumnRules, has_bad_text: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield items with their lines; add problems to `rows`."""
    is_tsv = rows.file.lower().endswith(".tsv")
    table = CsvTable(data, encoding, rules.count_known, DELIMITERS[::-1] if is_tsv else DELIMITERS)
    to_item = RowItems(rows.add_problem).item
    columns: list[Column] = []
    try:
        for line, cells in table.records():
            if has_bad_text and any(map(BAD_TEXT.search, cells)):
                rows.add_problem(line, "control characters are not allowed")
            if not columns:
                if len(cells) > MAX_COLUMNS:
                    rows.add_problem(line, f"there are {len(cells):,} columns: the maximum is {MAX_COLUMNS}")
                    return
                columns = rules.columns(cells, table.positions(line, cells))
                if not _check_header(rows, line, columns, rules, table.records()):
                    return
            elif message := _length_error(columns, cells, table.delimiter):
                rows.add_problem(line, message)
            elif item := to_item(line, columns, cells):
                yield line, item
    except CsvError as error:
        rows.add_problem(error.at[0], str(error), error.at[1])
    if not columns and not rows.problems:
        rows.add_problem(1, "the file is empty: the first line names the columns, such as id,image,prompt")


def _check_header(
    rows: Rows, line: int, columns: list[Column], rules: ColumnRules, records: Iterable[tuple[int, list[str]]]
) -> bool:
    """Add the columns and their problems to `rows`. Return whether rows can be read. `records`: those of the table."""
    rows.mapping = columns
    rows.columns = {column.key: column.at for column in columns if column.at and column.use in VALUES}
    for message in rules.unknown_ignored(column.header for column in columns):
        rows.add_problem(line, message)
    if not {Use.IMAGE, Use.PROMPT} & {column.use for column in columns}:
        wrong = [column for column in columns if column.use is Use.WRONG]
        for column in wrong:
            rows.add_problem(line, column.error, column.at[1] if column.at else 1)
        rows.add_problem(line, f"there is no column image or prompt: {_header_advice(records, rules)}")
        return False
    return True


def _header_advice(records: Iterable[tuple[int, list[str]]], rules: ColumnRules) -> str:
    """Return what to do about a table whose first line does not name its columns."""
    below = next((line for line, cells in islice(records, MAX_TITLES) if rules.count_known(cells)), None)
    if below is None:
        return "the first line names them, such as id,image,prompt"
    return f"the first line names them. Line {below} does: delete what is above it"


def _length_error(columns: list[Column], cells: list[str], delimiter: str) -> str:
    """Return why a row has too many or too few cells, '' if it has not.

    Spreadsheets leave out empty cells at the end of a row. An image or a prompt that is missing may be cut off.
    """
    if len(cells) == len(columns):
        return ""
    missing, more = columns[len(cells) :], cells[len(columns) :]
    if not any(map(strip_blanks, more)) and not any(column.use in (Use.IMAGE, Use.PROMPT) for column in missing):
        return ""
    name = {",": "a comma", ";": "a semicolon", "\t": "a tab"}.get(delimiter, repr(delimiter))
    advice = f"put cells with {name} in quotes"
    if any(map(_ODD_QUOTE.match, cells)):
        advice += ': straight ones ("), without a blank before them'
    return f"the row has {len(cells)} cells, the header has {len(columns)}: {advice}"


def _jsonl(rows: Rows, data: bytes, encoding: str, rules: ColumnRules) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield items with their lines; add problems to `rows`."""
    to_item = RowItems(rows.add_problem).item
    layouts: dict[tuple[str, ...], list[Column]] = {}
    for line, text in enumerate(io.TextIOWrapper(io.BytesIO(data), encoding, newline=""), 1):
        whole = strip_blanks(text)
        if not whole:
            continue
        if whole.startswith(("#", "//")):
            rows.add_problem(line, "JSON has no comments: delete this line")
            continue
        if _ODD_JSON_QUOTE.match(whole):
            rows.add_problem(
                line, 'keys and texts of JSON are in straight quotes ("): type them in place of curly ones'
            )
            continue
        if whole in ("[", "]", "{", "[{"):
            rows.add_problem(line, "a line must be a whole object: write each on one line, without [ ] around all")
            return
        if whole.endswith("},"):
            # A line out of a JSON list.
            text = text[: text.rindex(",")]
        document = load(text.encode(), file=rows.file)
        for problem in document.problems:
            rows.add_problem(line, problem.message.replace("not YAML", "not JSON"), problem.column)
        if not document.readable:
            continue
        if not isinstance(document.value, dict):
            rows.add_problem(line, 'a line must be an object such as {"image": "…", "prompt": "…"}')
            continue
        keys = tuple(key for key in document.value if key != _PARAMS)
        if keys not in layouts:
            layouts[keys] = _layout(rows, line, document, rules.columns(keys))
        item = to_item(line, layouts[keys], [document.value[key] for key in keys])
        if _add_params(rows, line, item, document) and (item or not keys):
            yield line, item
        if len(rows.mapping) > MAX_COLUMNS:
            rows.add_problem(line, f"up to here there are more than {MAX_COLUMNS} different keys")
            return
    for message in rules.unknown_ignored(column.header for column in rows.mapping):
        rows.add_problem(1, message)


def _layout(rows: Rows, line: int, document: Document, columns: list[Column]) -> list[Column]:
    """Return what the keys of an object mean, the wrong ones with their positions."""
    known = {column.header for column in rows.mapping}
    rows.mapping += [column for column in columns if column.header not in known]
    return [
        replace(column, at=(line, document.position((column.header,), key=True)[1]))
        if column.use is Use.WRONG
        else column
        for column in columns
    ]


def _add_params(rows: Rows, line: int, item: dict[str, Any], document: Document) -> bool:
    """Add the `params` of an object to its item. Return whether they can be params at all."""
    params = document.value.get(_PARAMS) or {}
    if not isinstance(params, dict):
        rows.add_problem(line, "params must be an object", document.position((_PARAMS,))[1])
        return False
    more = item.get(_PARAMS, {})
    for name in more.keys() & params.keys():
        column = document.position((name,), key=True)[1]
        rows.add_problem(line, f"the param {shown(name)} is a duplicate: keep one", column)
    if params:
        item[_PARAMS] = {**params, **more}
    return True
