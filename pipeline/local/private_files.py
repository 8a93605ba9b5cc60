"""Files, folders and sockets that only their owner can use."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import DailiesError

_MAX_SOCKET_PATH_BYTES = 103
"""What every system allows; Linux allows 107."""
_OTHER_USERS = stat.S_IRWXG | stat.S_IRWXO


class NotYours(DailiesError):
    """The folder belongs to another user, so it cannot be closed to others."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} belongs to another user: choose another folder with --state.")


def make_private(folder: Path) -> None:
    """Create `folder` for its owner only. If it exists, take all rights of other users from it and what is in it.

    Symbolic links are not followed. Raises NotYours.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        close_to_others(folder)
    except PermissionError:
        raise NotYours(folder) from None
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            # A process that is about to exit may delete a file now. What others own in here, they cannot reach.
            with suppress(FileNotFoundError, PermissionError):
                close_to_others(Path(parent, name))


def write_private(file: Path, content: str | bytes) -> None:
    """Write `content` atomically, readable by this user only."""
    part = file.with_name(f".{file.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content.encode() if isinstance(content, str) else content)
    part.replace(file)


@contextmanager
def socket_folder(folder: Path, longest_name: str) -> Iterator[Path]:
    """Yield a folder for sockets: `folder`, or a temporary private one if the path of `longest_name` is too long."""
    if len(os.fsencode(folder / longest_name)) <= _MAX_SOCKET_PATH_BYTES:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="dailies-") as short:
        yield Path(short)


def close_to_others(path: Path) -> None:
    """Take all rights of other users from one file or folder. Raises OSError."""
    mode = path.lstat().st_mode
    if mode & _OTHER_USERS and not stat.S_ISLNK(mode):
        path.chmod(stat.S_IMODE(mode) & ~_OTHER_USERS)
