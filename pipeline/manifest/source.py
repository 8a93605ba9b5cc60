"""The manifest that a command or a schedule names: a file, `-` for stdin, or an s3:// address."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.domain.model import Manifest
from pipeline.errors import CannotRead
from pipeline.manifest import parser as manifests
from pipeline.storage.s3 import Storage, join

STDIN = "-"
_MAX_READ = manifests.MAX_BYTES + 1
"""What is longer is refused; no more of it is read."""


@dataclass(frozen=True)
class ManifestSource:
    """A manifest, and the folder that its files are relative to (None: it lies on S3, there are none)."""

    manifest: Manifest
    folder: Path | None


def read(file: str, storage: Callable[[], Storage], *, fill: Callable[[str], str] | None = None) -> ManifestSource:
    """Read and check a manifest, its texts filled in by `fill` if that is given.

    Raises InvalidManifest with all its mistakes, CannotRead, StorageError.
    """
    if file.startswith("s3://"):
        text = read_object(file, storage())
        rows = _rows_beside(file, storage)
        return ManifestSource(manifests.parse(text, file=file, read_rows=rows, local_files=None, fill=fill), None)
    folder = Path() if file == STDIN else Path(file).parent
    text = _stdin() if file == STDIN else _file(Path(file))
    name = "stdin" if file == STDIN else file
    rows = _rows_in(folder, storage)
    return ManifestSource(manifests.parse(text, file=name, read_rows=rows, local_files=folder, fill=fill), folder)


def read_object(uri: str, storage: Storage) -> bytes:
    """The text of a manifest on S3. Raises CannotRead, StorageError."""
    text = storage.get(uri)
    if text is None:
        raise CannotRead(f"There is no object {uri}.")
    return text


def _rows_in(folder: Path, storage: Callable[[], Storage]) -> Callable[[str], bytes]:
    def rows(reference: str) -> bytes:
        return read_object(reference, storage()) if reference.startswith("s3://") else _head(folder / reference)

    return rows


def _rows_beside(file: str, storage: Callable[[], Storage]) -> Callable[[str], bytes]:
    def rows(reference: str) -> bytes:
        uri = reference if reference.startswith("s3://") else join(file.rpartition("/")[0] + "/", reference)
        return read_object(uri, storage())

    return rows


def _file(file: Path) -> bytes:
    try:
        return _head(file)
    except OSError as error:
        raise CannotRead(f"{file} cannot be read: {error.strerror}.") from None


def _head(file: Path) -> bytes:
    with file.open("rb") as source:
        return source.read(_MAX_READ)


def _stdin() -> bytes:
    return sys.stdin.buffer.read(_MAX_READ)
