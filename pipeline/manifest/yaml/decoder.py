"""Values from the events of PyYAML's C parser: no object is made that the text asks for. Pure.

It is several times as fast as PyYAML's own loader, which makes a node of every event first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import yaml
from yaml.reader import ReaderError

from pipeline.errors import Problem

MAX_DEPTH = 20
MAX_EXPANDED = 16 * 1024 * 1024
"""What aliases may stand for in all, in characters, as if it were written out."""
MAX_VALUES = 4_000_000
MAX_ENTRIES = 250_000
"""How many entries a list may have."""
MAX_KEYS = 256
"""How many keys a mapping may have."""
MAX_PROBLEMS = 1000
"""After so many mistakes reading goes no further."""

BAD_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters other than tabs and line ends, lone surrogates, non-characters."""
PAD = "\ufdd0\ufdd0"
"""Non-characters that stand in a text only to keep its places; they are no part of a value."""

_LEADS = frozenset([*"0123456789+-.~nNtTfFyYoOI", ""])
"""How plain text begins that may be something else than text."""
_CONSTANTS: dict[str, bool | None] = {"": None, "~": None}
for _word, _meaning in (
    ("null", None), ("true", True), ("yes", True), ("on", True), ("false", False), ("no", False), ("off", False),
):  # fmt: skip
    _CONSTANTS |= dict.fromkeys((_word, _word.capitalize(), _word.upper()), _meaning)
_INT = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?(?:\.inf|\.Inf|\.INF|Infinity)|\.nan|\.NaN|\.NAN|NaN")
_MAX_DIGITS = 300
_TAGS = {"tag:yaml.org,2002:str": "text", "tag:yaml.org,2002:seq": "list", "tag:yaml.org,2002:map": "mapping"}
_MERGE = "<<"
_NO_KEY: Any = object()


class _Stop(Exception):
    """Reading goes no further."""


class Decoder:
    """Makes one value of a text; `text_keys` and `free_keys` are those of `yaml_text.load`.

    What is wrong goes to `problems`; where the value cannot be made at all `readable` is False.
    """

    def __init__(self, file: str, text: bytes, text_keys: frozenset[str], free_keys: frozenset[str]) -> None:
        self.problems: list[Problem] = []
        self.readable = True
        self._file = file
        self._text = text
        self._text_keys = text_keys
        self._free_keys = free_keys
        self._escapes = b"\\" in text
        self._anchors: dict[str, Any] = {}
        self._measures: dict[int, tuple[int, int]] = {}
        self._measured: list[Any] = []
        self._expanded = 0
        self._merging: set[int] = set()

    def build(self) -> Any:
        """Read all; None where it is not readable."""
        try:
            return self._read(yaml.CSafeLoader(self._text))
        except _Stop:
            pass
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._add(mark.line if mark else 0, mark.column if mark else 0, _in_words(error))
        except ReaderError as error:
            before = self._text[: error.position].decode("utf-8", "replace")
            column = len(before) - before.rfind("\n") - 1
            self._add(before.count("\n"), column, f"not YAML: {error.reason}")
        self.readable = False
        return None

    def _read(self, loader: Any) -> Any:
        loader.get_event()
        if type(event := loader.get_event()) is not yaml.DocumentStartEvent:
            self._stop(event, "there is nothing here")
        value = self._node(loader.get_event)
        loader.get_event()
        if type(event := loader.get_event()) is yaml.DocumentStartEvent:
            self._stop(event, "here begins a second document: one file is one document")
        return value

    def _node(self, get_event: Callable[[], Any]) -> Any:
        """Read one node with all that is in it: one loop, no calls for what is ordinary, for it runs a million times.

        `key` is, in a mapping, the one whose value comes next; in a list, the one that the list is under.
        """
        text_keys, free_keys, escapes = self._text_keys, self._free_keys, self._escapes
        scalar, mapping, sequence = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
        top: list[Any] = []
        node: Any = top
        is_mapping = False
        key: Any = None
        anchor: str | None = None
        free_from = 0
        stack: list[tuple[Any, bool, Any, str | None]] = []
        left = MAX_VALUES
        while True:
            event = get_event()
            kind = type(event)
            if kind is scalar:
                if escapes:
                    self._check_text(event)
                value = event.value
                if key is _NO_KEY:
                    key = self._key(event, node)
                    continue
                if event.implicit[0]:
                    if value[:1] in _LEADS:
                        value = self._plain(event, key in text_keys and not free_from)
                elif event.tag is not None:
                    self._check_tag(event, "text")
                if event.anchor is not None:
                    self._name(event.anchor, value)
            elif kind is mapping or kind is sequence:
                if key is _NO_KEY:
                    self._stop(event, "a key must be text")
                if event.tag is not None:
                    self._check_tag(event, "mapping" if kind is mapping else "list")
                if len(stack) == MAX_DEPTH:
                    self._stop(event, _TOO_DEEP)
                stack.append((node, is_mapping, key, anchor))
                if not free_from and key in free_keys:
                    free_from = len(stack)
                is_mapping, anchor = kind is mapping, event.anchor
                node, key = ({}, _NO_KEY) if is_mapping else ([], key)
                continue
            elif kind is yaml.AliasEvent:
                if key is _NO_KEY:
                    self._stop(event, "a key must be text, not an alias")
                value = self._alias(event, len(stack))
            else:
                value = node
                left -= 1 + len(node)
                if left < 0:
                    self._stop(event, f"up to here there are more than {MAX_VALUES:,} values")
                if is_mapping and id(node) in self._merging:
                    self._merge(event, node)
                if anchor is not None:
                    self._name(anchor, node)
                if len(stack) == free_from:
                    free_from = 0
                node, is_mapping, key, anchor = stack.pop()
            if is_mapping:
                node[key] = value
                key = _NO_KEY
            elif node is top:
                return value
            elif len(node) < MAX_ENTRIES:
                node.append(value)
            else:
                self._stop(event, f"this list has more than {MAX_ENTRIES:,} entries")

    def _check_text(self, event: Any) -> None:
        if PAD in event.value:
            event.value = event.value.replace(PAD, "")
        if BAD_TEXT.search(event.value):
            self._note(event, "text has no control characters and no halves of characters")

    def _key(self, event: Any, node: dict[str, Any]) -> str:
        key: str = event.value
        if key in node:
            self._note(event, f"{shown(key)} is here twice: keep one")
        elif len(node) == MAX_KEYS:
            self._stop(event, f"this mapping has more than {MAX_KEYS:,} keys")
        if event.tag is not None:
            self._check_tag(event, "text")
        if event.anchor is not None:
            self._name(event.anchor, key)
        if key == _MERGE and event.implicit[0]:
            self._merging.add(id(node))
        return key

    def _plain(self, event: Any, as_text: bool) -> Any:
        """What a scalar without quotes means."""
        text: str = event.value
        if text in _CONSTANTS and not (as_text and _CONSTANTS[text] is not None):
            return _CONSTANTS[text]
        if as_text:
            return text
        if _INT.fullmatch(text) and len(text) <= _MAX_DIGITS:
            return int(text, 0) if text[1:2] in ("x", "o") else int(text)
        is_float = _FLOAT.fullmatch(text)
        if is_float and len(text) <= _MAX_DIGITS and math.isfinite(float(text)):
            return float(text)
        if is_float or _NOT_FINITE.fullmatch(text):
            self._note(event, f"{shown(text)} is a number that cannot be used; put it in quotes if it is text")
        return text

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag != "!" and _TAGS.get(event.tag) != kind:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._note(event, f"the tag {shown(tag)} is not taken: leave it out (quotes make text)")

    def _name(self, anchor: str, value: Any) -> None:
        self._anchors[anchor] = value
        if isinstance(value, dict | list):
            # Kept, so that no other value gets its id.
            self._measured.append(value)
            self._measures[id(value)] = self._measure(value)

    def _measure(self, value: Any) -> tuple[int, int]:
        """Length, roughly, and depth of a value with its aliases written out."""
        if isinstance(value, str):
            return len(value) + 1, 0
        if not isinstance(value, dict | list):
            return 4, 0
        if id(value) in self._measures:
            return self._measures[id(value)]
        length, depth = sum(len(key) + 1 for key in value) if isinstance(value, dict) else 2, 0
        for child in value.values() if isinstance(value, dict) else value:
            child_length, child_depth = self._measure(child)
            length, depth = length + child_length, max(depth, child_depth)
        return length, depth + 1

    def _alias(self, event: Any, depth_here: int) -> Any:
        if event.anchor not in self._anchors:
            self._note(event, f"there is no &{event.anchor} before this, or this is within it")
            return None
        value = self._anchors[event.anchor]
        length, depth = self._measure(value)
        self._expanded += length
        if self._expanded > MAX_EXPANDED:
            self._stop(event, f"up to here aliases stand for more than {MAX_EXPANDED:,} characters")
        if depth_here + depth > MAX_DEPTH:
            self._stop(event, _TOO_DEEP)
        return value

    def _merge(self, event: Any, node: dict[str, Any]) -> None:
        """Fill a mapping up with those that stand at its `<<`."""
        self._merging.discard(id(node))
        merged = node.pop(_MERGE)
        for other in merged if isinstance(merged, list) else [merged]:
            if not isinstance(other, dict):
                self._note(event, "the mapping that ends here has a '<<' that is no alias of a mapping")
                continue
            for key, value in other.items():
                node.setdefault(key, value)
        if len(node) > MAX_KEYS:
            self._stop(event, f"the mapping that ends here has more than {MAX_KEYS:,} keys")

    def _note(self, event: Any, message: str) -> None:
        self._add(event.start_mark.line, event.start_mark.column, message)
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop

    def _add(self, line: int, column: int, message: str) -> None:
        self.problems.append(Problem(self._file, line + 1, column + 1, message))

    def _stop(self, event: Any, message: str) -> NoReturn:
        self._note(event, message)
        raise _Stop


_TOO_DEEP = f"this is nested too deeply: {MAX_DEPTH} levels are read"


def shown(value: object) -> str:
    """A value as a message shows it: short, on one line."""
    text = repr(value[:80]) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _in_words(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "it cannot be read"
    if "nesting depth" in problem:
        return _TOO_DEEP
    if problem == "found character that cannot start any token":
        return "not YAML: text cannot begin with this character; a tab cannot indent (use spaces), '@' needs quotes"
    if problem.startswith("mapping values are not allowed"):
        return "not YAML: a second ': ' where one value stands; put text that has one in quotes"
    return f"not YAML: {problem}" + (f", {error.context}" if error.context else "")
