"""What word processors and chats type and YAML takes for letters: no-break and invisible spaces, curly quotes. Pure."""

from __future__ import annotations

import re
import unicodedata
from itertools import islice

from pipeline.errors import Problem

_ODD = "([\u00a0\u00ad\u2000-\u200f\u202a-\u202f\u205f-\u2064\u3000\ufeff])"
_KEY = r"[\w\"'.-]+[ \t]*:"
_WHERE_SPACES_COUNT = re.compile(
    rf"^(?:(?:[ \t]|- )*-?|[ \t]*(?:- +)*{_KEY}){_ODD}|(?:\{{|[{{,][ \t]*{_KEY}){_ODD}", re.MULTILINE
)
"""In the indentation, behind a dash, a brace or a key. Elsewhere they are part of a text."""
CURLY = "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"
_WHERE_QUOTES_OPEN = re.compile(rf"^(?:[ \t]*(?:- +)*{_KEY}|(?:[ \t]|- )*-)[ \t]+([{CURLY}])", re.MULTILINE)
_IN_CURLY = re.compile(rf"[{CURLY}][^{CURLY}]*[{CURLY}]")
_MAX_FOUND = 20
_REPLACE = "delete it, or type a space in its place"
STRAIGHT_QUOTES = "curly quotes are part of the text: type straight ones (\") in their place, or put all of it in '…'"


def odd_spaces(file: str, text: str) -> list[Problem]:
    """Return a problem for each such character where YAML needs a space, at most 20."""
    return [
        _problem(file, text, found.end() - 1, f"{_shown(text[found.end() - 1])} is here: {_REPLACE}")
        for found in islice(_WHERE_SPACES_COUNT.finditer(text), _MAX_FOUND)
    ]


def curly_quotes(file: str, text: str) -> list[Problem]:
    """Return a problem for each curly quote that a value of a text begins with, which is no YAML; at most 20."""
    found = islice(_WHERE_QUOTES_OPEN.finditer(text), _MAX_FOUND)
    return [_problem(file, text, one.start(1), STRAIGHT_QUOTES) for one in found]


def is_in_curly_quotes(value: str) -> bool:
    """Return whether a value is in curly quotes from its start to its end."""
    return _IN_CURLY.fullmatch(value) is not None


def odd_space_in(key: str) -> str:
    """Return what to do about such a character in a key, '' if it has none."""
    found = re.search(_ODD, key)
    return f"{_shown(found[0])} is in it: {_REPLACE}" if found else ""


def _shown(character: str) -> str:
    return f"a {unicodedata.name(character).lower()} (U+{ord(character):04X})"


def _problem(file: str, text: str, offset: int, message: str) -> Problem:
    line_start = text.rfind("\n", 0, offset) + 1
    return Problem(file, text.count("\n", 0, offset) + 1, offset - line_start + 1, message)
