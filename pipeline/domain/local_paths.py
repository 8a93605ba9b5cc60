"""Paths on this machine for the files of a batch, whose keys on S3 may be names that no other system has. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

WINDOWS_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.I)
"""Names that Windows keeps for devices, whatever follows after a dot."""
_NOT_IN_NAMES = re.compile(r'[<>:"|?*\\]|[. ]$')
"""Characters that Windows does not allow in a name, or drops from its end."""
_MAX_BYTES = 200
"""Systems allow 255; a copy that is not complete has a longer name."""


class LocalPaths:
    """Gives each path one that is valid on all systems and differs from the others also without case and normal form.

    `taken`: paths that stay as they are. The same path always gets the same result; a path that is valid and that no
    other resembles stays as it is.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._names: dict[tuple[str, str, bool], str] = {}
        self._used: set[str] = set()
        for path in taken:
            self.path(path)

    def path(self, path: str) -> str:
        """Return the path on this machine of a file. `path`: with `/`, without `..`."""
        folder = ""
        *folders, name = path.split("/")
        for step in folders:
            folder = f"{self._unique(folder, step, is_folder=True)}/"
        return self._unique(folder, name, is_folder=False)

    def _unique(self, folder: str, name: str, *, is_folder: bool) -> str:
        known = (folder, name, is_folder)
        if known not in self._names:
            valid, copy = _valid(name), 2
            path = f"{folder}{valid}"
            while _key(path) in self._used:
                stem, suffix = (valid, "") if is_folder else (PurePosixPath(valid).stem, PurePosixPath(valid).suffix)
                path, copy = f"{folder}{stem} ({copy}){suffix}", copy + 1
            self._used.add(_key(path))
            self._names[known] = path
        return self._names[known]


def _valid(name: str) -> str:
    """Return a name that all systems allow."""
    valid = _NOT_IN_NAMES.sub("_", name)
    valid = f"_{valid}" if WINDOWS_DEVICE.match(valid) else valid
    if len(valid.encode()) <= _MAX_BYTES:
        return valid
    suffix = PurePosixPath(valid).suffix[:20]
    return valid.encode()[: _MAX_BYTES - len(suffix.encode())].decode("utf-8", "ignore") + suffix


def _key(path: str) -> str:
    """Return what macOS and Windows compare of a path."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
