"""YAML and JSON text as plain Python values, bounded, with the position of every problem. Pure.

Values are text, numbers, booleans, None, lists and mappings with text keys, as in JSON. Scalars have the types that
PyYAML gives them, with these exceptions: `16:9` and `2026-01-31` are text, `1e3` is a number, `007` is 7, and keys are
text as written.

Positions are not recorded while there are no problems: `Document.locate` parses the text again to find them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import Problem
from pipeline.manifest.encodings import wide_encoding
from pipeline.manifest.file_formats import foreign_format
from pipeline.manifest.yaml.decoder import BAD_TEXT, MAX_DEPTH, MAX_ENTRIES, MAX_KEYS, PAD, Decoder
from pipeline.manifest.yaml.odd_spaces import curly_quotes, odd_spaces
from pipeline.manifest.yaml.positions import Path, Position, PositionTree, find_positions

MAX_BYTES = 64 * 1024 * 1024

_MAX_NODES = 2 * MAX_ENTRIES
"""How many lists and mappings the JSON decoder may create. JSON with more is decoded as YAML, which is slower but
checks the bounds while it reads."""

_SURROGATE_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_BAD_ESCAPE = re.compile(r"\\u(?:00[01]|007[fF]|00[89]|[dD][89a-fA-F]|[fF]{3}[eEfF])")


@dataclass(frozen=True)
class PathProblem:
    """A problem with the value at a path, or with its key. `Document.locate` adds the position."""

    path: Path
    message: str
    at_key: bool = False


@dataclass
class Document:
    """A decoded text. `problems` are its syntax errors; if it is not `readable` it has no value."""

    file: str
    text: bytes
    value: Any = None
    problems: list[Problem] = field(default_factory=list)
    readable: bool = True

    def locate(self, path_problems: Iterable[PathProblem]) -> list[Problem]:
        """Return the problems with their positions, in the same order. The text is parsed once for all.

        A path that is not in the text (a missing key, a value behind an alias) has the position of its parent.
        """
        path_problems = list(path_problems)
        tree = self._tree(problem.path for problem in path_problems)
        return [
            Problem(self.file, *tree.position(problem.path, key=problem.at_key), problem.message)
            for problem in path_problems
        ]

    def position(self, path: Path, *, key: bool = False) -> Position:
        """Return the position of one value, or of its key."""
        return self._tree([path]).position(path, key=key)

    def odd_spaces(self) -> list[Problem]:
        """Return the characters that look like spaces and are not: they may be the reason for other problems."""
        return odd_spaces(self.file, self.text.decode("utf-8", "replace").removeprefix("\ufeff"))

    def _tree(self, paths: Iterable[Path]) -> PositionTree:
        tree = PositionTree()
        for path in paths:
            tree.add(self._existing(path))
        find_positions(tree, self.text)
        return tree

    def _existing(self, path: Path) -> Path:
        """Return the part of a path that exists: for a missing value the whole text would be searched."""
        value = self.value
        for number, step in enumerate(path):
            try:
                value = value[step]
            except (LookupError, TypeError):
                return path[:number]
        return path


def load(
    text: bytes,
    *,
    file: str,
    max_bytes: int = MAX_BYTES,
    text_keys: frozenset[str] = frozenset(),
    free_keys: frozenset[str] = frozenset(),
) -> Document:
    """Decode YAML or JSON. Problems are in the document's `problems`; they name the file `file`.

    In YAML, numbers and booleans under a key of `text_keys`, or in a list there, stay text as written, so that
    `id: 007` is "007". This does not apply below a key of `free_keys`, and not to JSON.
    """
    document = Document(file, text)
    if len(text) > max_bytes:
        return _unreadable(document, 1, 1, f"the file has {len(text):,} bytes: the maximum is {max_bytes:,}")
    if message := foreign_format(text):
        return _unreadable(document, 1, 1, f"this {message}")
    if codec := wide_encoding(text):
        return _unreadable(document, 1, 1, f"this is {codec[:6].upper()} text: save the file as UTF-8")
    try:
        characters = text.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        position = line_and_column(text, error.start)
        return _unreadable(document, *position, f"byte {error.start:,} is not UTF-8: save the file as UTF-8")
    padded = False
    if characters.lstrip()[:1] == "{":
        # YAML rejects surrogate pairs, which JSON writes for characters above U+FFFF.
        joined = _SURROGATE_PAIR.sub(_join_pair, characters)
        document.text = joined.encode()
        padded = joined != characters
        if not BAD_TEXT.search(characters) and not _BAD_ESCAPE.search(joined) and _load_json(document, characters):
            return document
    decoder = Decoder(file, document.text, text_keys, free_keys, padded=padded)
    document.value, document.problems, document.readable = decoder.decode(), decoder.problems, decoder.readable
    if not document.readable:
        quotes = curly_quotes(file, characters)
        document.problems = document.odd_spaces() or quotes or document.problems
    return document


def line_and_column(text: bytes, offset: int) -> Position:
    """Return the position of a byte of a text."""
    line_start = text.rfind(b"\n", 0, offset) + 1
    return text.count(b"\n", 0, offset) + 1, len(text[line_start:offset].decode("utf-8", "replace")) + 1


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems of one file in the order of its text."""
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _unreadable(document: Document, line: int, column: int, message: str) -> Document:
    document.problems.append(Problem(document.file, line, column, message))
    document.readable = False
    return document


def _join_pair(pair: re.Match[str]) -> str:
    """Return a surrogate pair as one escape of the same length, so that positions stay the same."""
    before, high, low = pair.groups()
    code = 0x10000 + (int(high, 16) - 0xD800 << 10) + int(low, 16) - 0xDC00
    return f"{before}\\U{code:08x}{PAD}"


def _load_json(document: Document, characters: str) -> bool:
    """Decode JSON without errors. Return False to leave it to the YAML decoder, which finds the positions of errors."""
    if characters.count("{") + characters.count("[") > _MAX_NODES:
        return False
    try:
        document.value = _decode(characters)
    except (ValueError, RecursionError):
        return False
    return not _exceeds_bounds(document.value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs) or len(mapping) > MAX_KEYS:
        raise ValueError("a key is a duplicate, or there are too many")
    return mapping


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite).decode


def _exceeds_bounds(value: Any) -> bool:
    """Return whether a value is nested too deeply or has a list that is too long."""
    level = [value]
    for _ in range(MAX_DEPTH):
        if any(len(parent) > MAX_ENTRIES for parent in level):
            return True
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
