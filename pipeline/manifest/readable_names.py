"""Ids and names that are made from names of people and files, and their natural order. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from anyascii import anyascii

MAX_SLUG = 100
"""Leaves room for a number behind it in an item's id of at most 128 characters."""
_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
"""Other transliterations drop the dots."""
_NOT_SLUG = re.compile(r"[^a-z0-9_]+")
_MAX_NAME = 63
_DIGITS = re.compile(r"([0-9]{1,100})")


def slug(text: str) -> str:
    """Return a text as lower-case ASCII letters, digits, `_` and `-`: `Müller, Straße` is `mueller-strasse`.

    It begins with a letter or a digit. '' if nothing of the text is left.
    """
    # macOS writes ü as u and a combining mark in names of files.
    composed = unicodedata.normalize("NFC", text).translate(_GERMAN)
    return _NOT_SLUG.sub("-", anyascii(composed).lower())[:MAX_SLUG].strip("-_")


def batch_name(text: str) -> str:
    """Return a text as the name of a batch: `Summer Campaign_2026` is `summer-campaign-2026`. '' if nothing is left."""
    return slug(text).replace("_", "-")[:_MAX_NAME].rstrip("-")


def natural_key(path: str) -> list[tuple[list[str | int], str]]:
    """Return the sort key of a path, in which `2.jpg` is before `10.jpg`."""
    return [(_parts(step.casefold()), step) for step in path.split("/")]


def file_ids(paths: Sequence[str]) -> list[str]:
    """Return a unique id for each path: from the name of the file, with its folders and its ending where needed.

    An id depends on the other paths only if their names are as good as the same.
    """
    ids: dict[int, str] = {}
    forms = [_forms(path) for path in paths]
    for level in range(len(_forms(""))):
        rest = [number for number in range(len(paths)) if number not in ids]
        uses = Counter(forms[number][level] for number in rest)
        taken = set(ids.values())
        ids |= {n: name for n in rest if uses[name := forms[n][level]] == 1 and name not in taken}
    numbered = NumberedIds(ids.values())
    return [ids.get(number) or numbered.add(forms[number][-1]) for number in range(len(paths))]


class NumberedIds:
    """Makes ids unique by a number: `anna`, `anna-2`, `anna-3`."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._uses: Counter[str] = Counter()

    def add(self, name: str) -> str:
        """Return `name`, with a number if an id before was the same."""
        unique = ""
        while not unique or unique in self._taken:
            self._uses[name] += 1
            unique = name if self._uses[name] == 1 else f"{name}-{self._uses[name]}"
        self._taken.add(unique)
        return unique


def _forms(path: str) -> tuple[str, str, str]:
    """Return what can be the id of a file, shortest first."""
    folder, _, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    short = slug(stem if dot else name) or "image"
    return short, slug(f"{folder}/{short}"), slug(f"{folder}/{short}.{ending}")


def _parts(text: str) -> list[str | int]:
    """Return a text and the numbers in it, in turns: parts at the same place have the same type."""
    return [int(part) if number % 2 else part for number, part in enumerate(_DIGITS.split(text))]
