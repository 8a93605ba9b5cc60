"""Tables with commas, semicolons or tabs, as spreadsheets export them: records with their lines. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from itertools import islice

from pipeline.manifest.columns import MAX_COLUMNS
from pipeline.manifest.yaml.positions import Position

_SEP = re.compile(r'"?sep=([,;|\t])"?[,;|\t]*', re.I)
"""Excel's line before the header that names the separator."""
DELIMITERS = ",;\t"


class CsvError(ValueError):
    """The text is not CSV. `line`: where the record begins."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


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
        separator = _SEP.fullmatch(next(self._lines(), "").strip())
        self._first_line = 2 if separator else 1
        self.delimiter = separator[1] if separator else max(delimiters, key=lambda one: self._rate(one, rate))

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the records that are not blank, each with its line. Raises CsvError."""
        line = self._first_line
        reader = csv.reader(islice(self._lines(), line - 1, None), delimiter=self.delimiter, strict=True)
        try:
            for cells in reader:
                if any(cell and not cell.isspace() for cell in cells):
                    yield line, cells
                line = self._first_line + reader.line_num
        except csv.Error as error:
            raise CsvError(line, _message(error)) from None

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

    def _rate(self, delimiter: str, rate: Callable[[list[str]], int]) -> tuple[int, int]:
        reader = csv.reader(self._lines(), delimiter=delimiter)
        try:
            header = next((cells for cells in reader if any(map(str.strip, cells))), [])
        except csv.Error:
            return 0, 0
        return rate(header[:MAX_COLUMNS]), len(header)


def _cell_starts(line: str, delimiter: str) -> Iterator[int]:
    """Yield where the cells of a line begin."""
    yield 0
    in_quotes = False
    for number, character in enumerate(line):
        if character == '"':
            in_quotes = not in_quotes
        elif character == delimiter and not in_quotes:
            yield number + 1


def _message(error: csv.Error) -> str:
    reason = str(error)
    if "field limit" in reason:
        return f"a cell has more than {csv.field_size_limit():,} characters: shorten it, or close its quote"
    if "end of data" in reason:
        return 'not CSV: a cell that begins with a quote (") here has none at its end'
    return 'not CSV: within quotes, a quote (") must be written twice ("")'
