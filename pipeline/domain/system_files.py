"""Names of files that systems and programs make beside those of a person. Pure."""

from __future__ import annotations

_PREFIXES = ("._", "~$")
"""AppleDouble files of macOS, lock files of Microsoft Office."""
_NAMES = (".ds_store", "thumbs.db")
_SUFFIXES = (".part", ".crdownload")
"""Downloads of browsers that are not complete."""


def is_system_file(name: str) -> bool:
    """Return whether a person did not make a file of this name. `name`: without folders."""
    lower = name.lower()
    return lower in _NAMES or lower.startswith(_PREFIXES) or lower.endswith(_SUFFIXES)
