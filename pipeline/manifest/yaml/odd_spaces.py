"""Characters that look like spaces and are letters for YAML: no-break spaces of word processors and chats. Pure."""

from __future__ import annotations

import re
import unicodedata
from itertools import islice

from pipeline.errors import Problem

_ODD = "([\u00a0\u2000-\u200b\u202f\u205f\u3000\ufeff])"
_KEY = r"[\w\"'.-]+[ \t]*:"
_WHERE_SPACES_COUNT = re.compile(
    rf"^(?:(?:[ \t]|- )*-?|[ \t]*(?:- +)*{_KEY}){_ODD}|(?:\{{|[{{,][ \t]*{_KEY}){_ODD}", re.MULTILINE
)
"""In the indentation, behind a dash, a brace or a key. Elsewhere they are part of a text."""
_MAX_FOUND = 20


def odd_spaces(file: str, text: str) -> list[Problem]:
    """Return a problem for each such character where YAML needs a space, at most 20."""
    return [_problem(file, text, found) for found in islice(_WHERE_SPACES_COUNT.finditer(text), _MAX_FOUND)]


def odd_space_in(key: str) -> str:
    """Return what to do about such a character in a key, '' if it has none."""
    found = re.search(_ODD, key)
    return f"{_shown(found[0])} is in it: delete it, or type a space in its place" if found else ""


def _shown(character: str) -> str:
    return f"a {unicodedata.name(character).lower()} (U+{ord(character):04X})"


def _problem(file: str, text: str, found: re.Match[str]) -> Problem:
    offset = found.end() - 1
    line_start = text.rfind("\n", 0, offset) + 1
    message = f"{_shown(text[offset])} is here, which looks like a space: type a space in its place"
    return Problem(file, text.count("\n", 0, offset) + 1, offset - line_start + 1, message)
