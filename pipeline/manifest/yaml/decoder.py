"""Plain values from the events of PyYAML's C parser. YAML tags create no objects. Pure.

It is several times as fast as PyYAML's own loader, which first makes a node of every event.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn, cast

import yaml
from yaml.reader import ReaderError

from pipeline.errors import Problem
from pipeline.manifest.yaml.odd_spaces import CURLY, STRAIGHT_QUOTES, is_in_curly_quotes

MAX_DEPTH = 20
MAX_EXPANDED = 16 * 1024 * 1024
"""How many characters all aliases together may expand to."""
MAX_VALUES = 4_000_000
MAX_ENTRIES = 250_000
"""How many entries a list may have."""
MAX_KEYS = 256
"""How many keys a mapping may have."""
MAX_PROBLEMS = 1000
"""Reading stops after so many problems."""

BAD_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters other than tabs and line ends, unpaired surrogates, non-characters."""
PAD = r"\a"
"""An escape that `document.load` puts behind characters above U+FFFF, so that positions stay the same."""

_FIRST_CHARACTERS = frozenset([*"0123456789+-.~nNtTfFyYoOI", *CURLY, ""])
"""The first characters of unquoted scalars that may be something else than text, or meant to be quoted."""
_CURLY_ENDS = frozenset(CURLY)
_CONSTANTS: dict[str, bool | None] = {"": None, "~": None}
for _word, _value in (
    ("null", None), ("true", True), ("yes", True), ("on", True), ("false", False), ("no", False), ("off", False),
):  # fmt: skip
    _CONSTANTS |= dict.fromkeys((_word, _word.capitalize(), _word.upper()), _value)
_INT = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?(?:\.inf|\.Inf|\.INF|Infinity)|\.nan|\.NaN|\.NAN|NaN")
_MAX_DIGITS = 300
_TAGS = {"tag:yaml.org,2002:str": "text", "tag:yaml.org,2002:seq": "list", "tag:yaml.org,2002:map": "mapping"}
_MERGE = "<<"
_NO_KEY: Any = object()
_PADDED = re.compile("([\U00010000-\U0010ffff])\a")


class _Stop(Exception):
    """Ends reading: the problem is already in `problems`."""


class Decoder:
    """Decodes one text; `text_keys` and `free_keys` are those of `document.load`, `padded`: it has a `PAD`.

    After `decode`, `problems` has what is wrong; `readable` is False if there is no value at all.
    """

    def __init__(
        self, file: str, text: bytes, text_keys: frozenset[str], free_keys: frozenset[str], *, padded: bool
    ) -> None:
        self.problems: list[Problem] = []
        self.readable = True
        self._file = file
        self._text = text
        self._text_keys = text_keys
        self._free_keys = free_keys
        self._padded = padded
        self._values_left = MAX_VALUES
        self._anchors: dict[str, Any] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        self._anchored: list[Any] = []
        self._expanded = 0
        self._merging: set[int] = set()

    def decode(self) -> Any:
        """Return the value of the whole text, None if it is not readable."""
        try:
            return self._document(yaml.CSafeLoader(self._text))
        except _Stop:
            pass
        except yaml.MarkedYAMLError as error:
            # A quote that is not closed is at its beginning, not at the end of the text.
            mark = error.context_mark if _is_open_quote(error) else error.problem_mark or error.context_mark
            self._add(mark.line if mark else 0, mark.column if mark else 0, _message(error))
        except ReaderError as error:
            before = self._text[: error.position].decode("utf-8", "replace")
            column = len(before) - before.rfind("\n") - 1
            self._add(before.count("\n"), column, f"not YAML: {error.reason}")
        self.readable = False
        return None

    def _document(self, loader: Any) -> Any:
        loader.get_event()
        if type(event := loader.get_event()) is not yaml.DocumentStartEvent:
            self._stop(event, "the file is empty")
        value = self._node(loader.get_event)
        loader.get_event()
        if type(event := loader.get_event()) is yaml.DocumentStartEvent:
            self._stop(event, "a second document begins here: write one document per file")
        return value

    def _node(self, get_event: Callable[[], Any]) -> Any:
        """Decode one node with all its children. `key`: the key of the next value, or the key that a list is under."""
        # The loop runs for a million events, so the common cases make no calls.
        text_keys, free_keys, escapes = self._text_keys, self._free_keys, b"\\" in self._text
        scalar, mapping, sequence = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
        top: list[Any] = []
        node, is_mapping, key, anchor, free_from = cast(Any, top), False, cast(Any, None), None, 0
        stack: list[tuple[Any, bool, Any, str | None]] = []
        while True:
            event = get_event()
            kind = type(event)
            if kind is scalar:
                if escapes:
                    self._check_text(event)
                if key is _NO_KEY:
                    key = self._key(event, node)
                    continue
                value = event.value
                may_be_other = value[:1] in _FIRST_CHARACTERS and event.implicit[0]
                if may_be_other or event.tag is not None or event.anchor is not None:
                    value = self._scalar(event, key in text_keys and not free_from)
            elif kind is mapping or kind is sequence:
                self._check_start(event, kind is mapping, key, len(stack))
                stack.append((node, is_mapping, key, anchor))
                if not free_from and key in free_keys:
                    free_from = len(stack)
                is_mapping, anchor = kind is mapping, event.anchor
                node, key = ({}, _NO_KEY) if is_mapping else ([], key)
                continue
            elif kind is yaml.AliasEvent:
                value = self._alias(event, key, len(stack))
            else:
                value = node
                self._end(event, node, is_mapping, anchor)
                free_from = 0 if len(stack) == free_from else free_from
                node, is_mapping, key, anchor = stack.pop()
            if is_mapping:
                node[key], key = value, _NO_KEY
            elif node is top:
                return value
            elif len(node) < MAX_ENTRIES:
                node.append(value)
            else:
                self._stop(event, f"this list has more than {MAX_ENTRIES:,} entries")

    def _scalar(self, event: Any, as_text: bool) -> Any:
        value = event.value
        if event.implicit[0]:
            value = self._plain(event, as_text) if value[:1] in _FIRST_CHARACTERS else value
        elif event.tag is not None:
            self._check_tag(event, "text")
        if event.anchor is not None:
            self._add_anchor(event.anchor, value)
        return value

    def _check_start(self, event: Any, is_mapping: bool, key: Any, depth: int) -> None:
        if key is _NO_KEY:
            self._stop(event, "a key must be text")
        if event.tag is not None:
            self._check_tag(event, "mapping" if is_mapping else "list")
        if depth == MAX_DEPTH:
            self._stop(event, _TOO_DEEP)

    def _end(self, event: Any, node: Any, is_mapping: bool, anchor: str | None) -> None:
        self._values_left -= 1 + len(node)
        if self._values_left < 0:
            self._stop(event, f"there are more than {MAX_VALUES:,} values up to here")
        if is_mapping and id(node) in self._merging:
            self._merge(event, node)
        if anchor is not None:
            self._add_anchor(anchor, node)

    def _check_text(self, event: Any) -> None:
        if self._padded:
            event.value = _PADDED.sub(r"\1", event.value)
        if BAD_TEXT.search(event.value):
            self._note(event, "control characters and unpaired surrogates are not allowed")

    def _key(self, event: Any, node: dict[str, Any]) -> str:
        key: str = event.value
        if key in node:
            self._note(event, f"{shown(key)} is a duplicate: keep one")
        elif len(node) == MAX_KEYS:
            self._stop(event, f"this mapping has more than {MAX_KEYS:,} keys")
        elif event.implicit[0] and (key[:1] in _CURLY_ENDS or key[-1:] in _CURLY_ENDS):
            self._note(event, STRAIGHT_QUOTES)
        if event.tag is not None:
            self._check_tag(event, "text")
        if event.anchor is not None:
            self._add_anchor(event.anchor, key)
        if key == _MERGE and event.implicit[0]:
            self._merging.add(id(node))
        return key

    def _plain(self, event: Any, as_text: bool) -> Any:
        """Return the value of a scalar without quotes."""
        text: str = event.value
        if text[:1] in _CURLY_ENDS and is_in_curly_quotes(text):
            self._note(event, STRAIGHT_QUOTES)
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
            self._note(event, f"{shown(text)} is not a finite number: put it in quotes if it is text")
        return text

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag != "!" and _TAGS.get(event.tag) != kind:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._note(event, f"the tag {shown(tag)} is not supported: remove it (quotes make text)")

    def _add_anchor(self, anchor: str, value: Any) -> None:
        self._anchors[anchor] = value
        if isinstance(value, dict | list):
            # A reference is kept so that no other value gets the same id.
            self._anchored.append(value)
            self._sizes[id(value)] = self._size(value)

    def _size(self, value: Any) -> tuple[int, int]:
        """Return the approximate length in characters and the depth of a value with its aliases expanded."""
        if isinstance(value, str):
            return len(value) + 1, 0
        if not isinstance(value, dict | list):
            return 4, 0
        if id(value) in self._sizes:
            return self._sizes[id(value)]
        length, depth = sum(len(key) + 1 for key in value) if isinstance(value, dict) else 2, 0
        for child in value.values() if isinstance(value, dict) else value:
            child_length, child_depth = self._size(child)
            length, depth = length + child_length, max(depth, child_depth)
        return length, depth + 1

    def _alias(self, event: Any, key: Any, level: int) -> Any:
        if key is _NO_KEY:
            self._stop(event, "a key must be text, not an alias")
        if event.anchor not in self._anchors:
            self._note(event, f"there is no anchor &{event.anchor} before this alias, or the alias is inside of it")
            return None
        value = self._anchors[event.anchor]
        length, depth = self._size(value)
        self._expanded += length
        if self._expanded > MAX_EXPANDED:
            self._stop(event, f"the aliases up to here expand to more than {MAX_EXPANDED:,} characters")
        if level + depth > MAX_DEPTH:
            self._stop(event, _TOO_DEEP)
        return value

    def _merge(self, event: Any, node: dict[str, Any]) -> None:
        """Add the keys of the mappings that are at `<<` of a mapping."""
        self._merging.discard(id(node))
        merged = node.pop(_MERGE)
        for other in merged if isinstance(merged, list) else [merged]:
            if not isinstance(other, dict):
                self._note(event, "the mapping that ends here has a '<<' that is not an alias of a mapping")
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


_TOO_DEEP = f"this is nested too deeply: the maximum is {MAX_DEPTH} levels"


def shown(value: object) -> str:
    """Return a value as messages show it: at most 80 characters, on one line."""
    text = repr(value[:80]) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _is_open_quote(error: yaml.MarkedYAMLError) -> bool:
    return error.context == "while scanning a quoted scalar" and "unexpected end" in (error.problem or "")


def _message(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "it cannot be parsed"
    if "nesting depth" in problem:
        return _TOO_DEEP
    if problem == "found character that cannot start any token":
        return "not YAML: text cannot begin with this character. Indent with spaces, not tabs; put '@' in quotes"
    if problem.startswith("found a tab character"):
        return "not YAML: a tab is here. Indent with spaces, not tabs"
    if problem == "found unknown escape character":
        return "not YAML: a \\ in \"…\" begins an escape. Write paths with /, or put the text in '…'"
    if problem == "found invalid Unicode character escape code":
        return "not YAML: a \\u escape is half of a character (an unpaired surrogate). Write the character itself"
    if problem == "did not find expected <document start>":
        return "not YAML: there is text behind the end of the value. Delete it"
    if problem.startswith("mapping values are not allowed"):
        return (
            "not YAML: there is a second ': ' in this value. Put text that contains ': ' in quotes; behind the '-' and "
            "the ':' of the line above must be a space"
        )
    if _is_open_quote(error):
        return "not YAML: the quote that opens here is not closed. Close it with the same straight one"
    if problem.startswith("did not find expected") and problem != "did not find expected '-' indicator":
        advice = "Correct the indentation; write a quote within '…' twice (''), and one within \"…\" as \\\""
        return f"not YAML: {problem}. {advice}"
    return f"not YAML: {problem}" + (f", {error.context}" if error.context else "")
