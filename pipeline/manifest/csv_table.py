"""Tables with commas, semicolons, tabs or bars, as spreadsheets export them: records with their lines. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from pipeline.domain.plain_text import strip_blanks
from pipeline.manifest.columns import MAX_COLUMNS
from pipeline.manifest.yaml.positions import Position

_SEP = re.compile(r'"?sep=([^\w"]?)"?[,;|\t]*', re.I)
"""Excel's line before the header that names the separator, which may be any character."""
MAX_TITLES = 10
"""How many records are searched for the header if the first one is none."""
DELIMITERS = ",;\t|"


class CsvError(ValueError):
    """The text is not CSV. `at`: where the cell begins that is wrong."""

    def __init__(self, at: Position, message: str) -> None:
        super().__init__(message)
        self.at = at


class CsvTable:
    """A table in an encoding.

    `rate`: returns how many of the names in a header are known; it decides which one of `delimiters` is used, the first
    one if it is the same for all.
    """

    def __init__(
        self, data: bytes, encoding: str, rate: Callable[[list[str]], int], delimiters: str = DELIMITERS
    ) -> None:
        self._data = data
        self._encoding = encoding
        separator = _SEP.fullmatch(next(self._lines(), "").rstrip("\r\n"))
        self._first_line = 2 if separator else 1
        named = separator[1] if separator else ""
        self.delimiter = named or max(delimiters, key=lambda one: self._rate(one, rate))

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the records that are not blank, each with its line. Raises CsvError."""
        line = self._first_line
        reader = csv.reader(islice(self._lines(), line - 1, None), delimiter=self.delimiter, strict=True)
        try:
            for cells in reader:
                if any(map(strip_blanks, cells)):
                    yield line, cells
                line = self._first_line + reader.line_num
        except csv.Error as error:
            at = _wrong_cell(islice(self._lines(), line - 1, None), line, self.delimiter)
            raise CsvError(at, _message(error)) from None

    def positions(self, line: int, header: list[str]) -> list[Position]:
        """Return the position of each name of the header, which is in this line."""
        text = next(islice(self._lines(), line - 1, None))
        found: list[Position] = []
        for start, name in zip(_cell_starts(text, self.delimiter), header, strict=False):
            found.append((line, max(text.find(name.strip(), start), start) + 1))
        # A name with a line end in it: those behind it are on other lines.
        return found + [(line, 1)] * (len(header) - len(found))

    def _lines(self) -> Iterator[str]:
        # Decoded line by line: a StringIO takes four times the bytes.
        return io.TextIOWrapper(io.BytesIO(self._data), self._encoding, newline="")

    def _rate(self, delimiter: str, rate: Callable[[list[str]], int]) -> tuple[int, int, int]:
        """Return how good a header the first record is, and the best one of those below if titles are above it."""
        reader = csv.reader(islice(self._lines(), self._first_line - 1, None), delimiter=delimiter)
        headers: list[list[str]] = []
        with suppress(csv.Error):
            headers.extend(cells[:MAX_COLUMNS] for cells in islice(reader, MAX_TITLES) if any(map(strip_blanks, cells)))
        first, *below = headers or [[]]
        return rate(first), max(map(rate, below), default=0), len(first)


def _cell_starts(line: str, delimiter: str) -> Iterator[int]:
    """Yield where the cells of a line begin."""
    yield 0
    in_quotes = False
    for number, character in enumerate(line):
        if character == '"':
            in_quotes = not in_quotes
        elif character == delimiter and not in_quotes:
            yield number + 1


def _wrong_cell(lines: Iterable[str], line: int, delimiter: str) -> Position:
    """Return where the first cell begins that is too long, or whose quotes are wrong. `line`: of the first line."""
    start, length, quotes, is_quoted = (line, 1), 0, 0, False
    for number, text in enumerate(lines, line):
        for column, character in enumerate(text.rstrip("\r\n"), 1):
            is_open = is_quoted and quotes % 2 == 1
            if character == delimiter and not is_open:
                start, length, quotes, is_quoted = (number, column + 1), 0, 0, False
                continue
            is_quoted = is_quoted or (character == '"' and not length)
            # A quote within a cell is one of two, or the last character of the cell.
            is_wrong = is_quoted and length > 0 and not is_open and (character != '"' or text[column - 2] != '"')
            quotes += character == '"'
            length += 1
            if is_wrong or length > csv.field_size_limit():
                return start
        if not (is_quoted and quotes % 2 == 1):
            start, length, quotes, is_quoted = (number + 1, 1), 0, 0, False
        else:
            length += 1
    return start


def _message(error: csv.Error) -> str:
    reason = str(error)
    if "field limit" in reason:
        return f"a cell has more than {csv.field_size_limit():,} characters: shorten it, or close its quote"
    return (
        'not CSV: the quotes (") of the cell that begins here do not match: '
        'close it with a quote, and write a quote within it twice ("")'
    )
