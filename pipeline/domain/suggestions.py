"""Suggestions for mistyped names. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_COMPARED = 128
"""Longer names take long to compare."""
_MIN_SIMILARITY = 0.6


def most_similar(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that is most like `name`; None if none is similar. Case does not count."""
    if len(name) > _MAX_COMPARED:
        return None
    lowered = {one.lower(): one for one in known}
    similar = get_close_matches(name.lower(), lowered, 1, _MIN_SIMILARITY)
    return lowered[similar[0]] if similar else None


def hint(name: str, known: Iterable[str]) -> str:
    """Return the question whether one of `known` is meant, after a space; '' if none is similar."""
    similar = most_similar(name, known)
    return "" if similar is None else f" Did you mean {similar!r}?"
