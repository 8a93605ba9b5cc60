"""The manifest that a command is given: a file, `-` for stdin, or an s3:// address."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline import manifest as manifests
from pipeline.errors import DailiesError
from pipeline.model import Manifest
from pipeline.storage import Storage, join

STDIN = "-"
_MOST_READ = manifests.MOST_BYTES + 1
"""What is longer is refused; no more of it is read."""


class CannotRead(DailiesError):
    """A file that was named cannot be read."""

    exit_code = 2


@dataclass(frozen=True)
class Given:
    """A manifest, and the folder that its files are relative to (None: it lies on S3, there are none)."""

    manifest: Manifest
    folder: Path | None


def read(file: str, storage: Callable[[], Storage]) -> Given:
    """Read and check a manifest. Raises InvalidManifest with all its mistakes, CannotRead, StorageError."""
    if file.startswith("s3://"):
        return Given(_parse(_object(file, storage), file, _rows_beside(file, storage), None), None)
    folder = Path() if file == STDIN else Path(file).parent
    text = _stdin() if file == STDIN else _file(Path(file))
    return Given(_parse(text, "stdin" if file == STDIN else file, _rows_in(folder, storage), folder), folder)


def _parse(text: bytes, file: str, read_rows: Callable[[str], bytes], folder: Path | None) -> Manifest:
    return manifests.parse(text, file=file, read_rows=read_rows, local_files=folder)


def _rows_in(folder: Path, storage: Callable[[], Storage]) -> Callable[[str], bytes]:
    def rows(reference: str) -> bytes:
        return _object(reference, storage) if reference.startswith("s3://") else _head(folder / reference)

    return rows


def _rows_beside(file: str, storage: Callable[[], Storage]) -> Callable[[str], bytes]:
    def rows(reference: str) -> bytes:
        uri = reference if reference.startswith("s3://") else join(file.rpartition("/")[0] + "/", reference)
        return _object(uri, storage)

    return rows


def _object(uri: str, storage: Callable[[], Storage]) -> bytes:
    text = storage().get(uri)
    if text is None:
        raise CannotRead(f"There is no object {uri}.")
    return text


def _file(file: Path) -> bytes:
    try:
        return _head(file)
    except OSError as error:
        raise CannotRead(f"{file} cannot be read: {error.strerror}.") from None


def _head(file: Path) -> bytes:
    with file.open("rb") as source:
        return source.read(_MOST_READ)


def _stdin() -> bytes:
    return sys.stdin.buffer.read(_MOST_READ)
