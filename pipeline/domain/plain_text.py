"""Text from outside made harmless for logs and terminals. Pure."""

from __future__ import annotations

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = {"\u200d", "\u200c"}
"""Joiners that emoji and some scripts need."""


_SPACES = "".join(map(chr, range(0x2000, 0x200E)))
_BLANKS = " \t\r\n\v\f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u2060\u3000\ufeff" + _SPACES
"""White space, and characters that show nothing, which copied text brings along."""


def strip_blanks(text: str) -> str:
    """Return `text` without white space and characters of no width around it."""
    return text.strip(_BLANKS)


def escape_control_chars(text: str) -> str:
    """Return `text` on one line, with control, direction and invalid characters escaped."""
    return text if text.isprintable() else "".join(map(_escape, text))


def escape_lines(text: str) -> str:
    """Return `text` with its line breaks; other control, direction and invalid characters are escaped."""
    return "\n".join(map(escape_control_chars, text.split("\n")))


def shorten(text: str, max_chars: int) -> str:
    """Return `text`, or its first `max_chars` characters and how many are left out."""
    return text if len(text) <= max_chars else f"{text[:max_chars]}… ({len(text) - max_chars} more characters)"


def _escape(char: str) -> str:
    if unicodedata.category(char) not in _INVISIBLE or char in _JOINERS:
        return char
    return char.encode("unicode_escape", "backslashreplace").decode()
