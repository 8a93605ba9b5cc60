"""YAML and JSON text as plain Python values, bounded, with the place of everything that is wrong. Pure.

Values are text, numbers, booleans, None, lists and mappings with text keys, as in JSON. Scalars mean what PyYAML takes
them for, but for what surprises: `16:9` and `2026-01-31` are text, `1e3` is a number, `007` is 7, and keys are text as
written.

Places are not kept while all is well: `Document.located` reads the text once more to find them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import Problem
from pipeline.manifest.yaml.decoder import BAD_TEXT, MAX_DEPTH, MAX_ENTRIES, MAX_KEYS, PAD, Decoder
from pipeline.manifest.yaml.positions import Path, Tree, find

MAX_BYTES = 64 * 1024 * 1024

_MAX_NODES = 2 * MAX_ENTRIES
"""Lists and mappings that are made in memory before anything is judged. JSON with more is read as YAML is, judged as it
comes: that takes longer and ends sooner."""

_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_BAD_ESCAPE = re.compile(r"\\u(?:00[01]|007[fF]|00[89]|[dD][89a-fA-F]|[fF]{3}[eEfF])")


@dataclass(frozen=True)
class Mistake:
    """What is wrong with the value at a path, or with its key: ("items", 3, "prompt")."""

    path: Path
    message: str
    at_key: bool = False


@dataclass
class Document:
    """What a text says. `problems` are its mistakes as YAML; where it is not `readable` it has no value."""

    file: str
    text: bytes
    value: Any = None
    problems: list[Problem] = field(default_factory=list)
    readable: bool = True

    def located(self, problems_found: Iterable[Mistake]) -> list[Problem]:
        """Mistakes with their places, all found in one reading.

        What is not written at its path (a key that is missing, what an alias stands for) is where its parent is.
        """
        tree = Tree()
        problems_found = list(problems_found)
        for mistake in problems_found:
            tree.add(self._there(mistake.path))
        find(tree, self.text)
        return [
            Problem(self.file, *tree.place(mistake.path, key=mistake.at_key), mistake.message)
            for mistake in problems_found
        ]

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of one value, or of its key."""
        tree = Tree()
        tree.add(self._there(path))
        find(tree, self.text)
        return tree.place(path, key=key)

    def _there(self, path: Path) -> Path:
        """As much of a path as leads somewhere: what is not there would be looked for to the end of the text."""
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
    """Read YAML or JSON. Mistakes are in the document's `problems`; `file` is what they call it.

    Numbers and booleans under a key of `text_keys`, or in a list there, stay text as written in YAML, so that
    `id: 007` is "007"; not so within a key of `free_keys`. JSON says itself what is text.
    """
    document = Document(file, text)
    if len(text) > max_bytes:
        return _unreadable(document, 1, 1, f"it is {len(text):,} bytes long: at most {max_bytes:,} are read")
    try:
        characters = text.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        place = line_and_column(text, error.start)
        return _unreadable(document, *place, f"byte {error.start:,} is no UTF-8: save the file as UTF-8")
    if characters.lstrip()[:1] == "{":
        # YAML does not take pairs of surrogates, which JSON writes for what is beyond U+FFFF.
        joined = _PAIR.sub(_joined, characters)
        document.text = joined.encode()
        if not BAD_TEXT.search(characters) and not _BAD_ESCAPE.search(joined) and _load_json(document, characters):
            return document
    builder = Decoder(file, document.text, text_keys, free_keys)
    document.value, document.problems, document.readable = builder.build(), builder.problems, builder.readable
    return document


def line_and_column(text: bytes, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of a byte of a text."""
    line_start = text.rfind(b"\n", 0, offset) + 1
    return text.count(b"\n", 0, offset) + 1, len(text[line_start:offset].decode("utf-8", "replace")) + 1


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems of one file in the order of its text."""
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _unreadable(document: Document, line: int, column: int, message: str) -> Document:
    document.problems.append(Problem(document.file, line, column, message))
    document.readable = False
    return document


def _joined(pair: re.Match[str]) -> str:
    """A pair of surrogates as one escape of the same length, so that places stay."""
    before, high, low = pair.groups()
    code = 0x10000 + (int(high, 16) - 0xD800 << 10) + int(low, 16) - 0xDC00
    return f"{before}\\U{code:08x}{PAD}"


def _load_json(document: Document, characters: str) -> bool:
    """Read what is JSON without a fault. False leaves it to YAML, which finds the places of faults."""
    if characters.count("{") + characters.count("[") > _MAX_NODES:
        return False
    try:
        document.value = _decode(characters)
    except (ValueError, RecursionError):
        return False
    return not _is_too_much(document.value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) or len(found) > MAX_KEYS:
        raise ValueError("a key is there twice, or there are too many")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite).decode


def _is_too_much(value: Any) -> bool:
    """Whether it is nested too deeply or has a list that is too long."""
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
