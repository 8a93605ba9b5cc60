"""The manifest that a command or a schedule names: a file, `-` for stdin, or an `s3://` address."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.domain.model import Manifest
from pipeline.errors import CannotRead
from pipeline.manifest import parser as manifests
from pipeline.manifest.item_positions import ItemPositions
from pipeline.manifest.model_check import SchemaOf
from pipeline.manifest.template import Fill
from pipeline.storage.s3 import Storage, join

STDIN = "-"
_MAX_READ = manifests.MAX_BYTES + 1
"""One byte more than is accepted, so that a longer file is refused without reading all of it."""


@dataclass(frozen=True)
class LoadedManifest:
    """A manifest, and the folder that its image files are relative to (None: it is on S3 and has no files)."""

    manifest: Manifest
    folder: Path | None
    positions: ItemPositions | None = None
    """Where its items are written; None if it was made from nothing that a person wrote."""


def load_manifest(
    file: str, storage: Callable[[], Storage], *, fill: Fill | None = None, schema_of: SchemaOf | None = None
) -> LoadedManifest:
    """Read and validate a manifest; `fill` replaces its placeholders, `schema_of` returns the schema of its model.

    Raises InvalidManifest with all problems, CannotRead, StorageError.
    """
    if file.startswith("s3://"):
        text = read_object(file, storage())
        rows = _rows_on_s3(file, storage)
        return _load(text, file, rows, None, fill, schema_of)
    folder = Path() if file == STDIN else Path(file).parent
    text = _read_stdin() if file == STDIN else _read_file(Path(file))
    name = "stdin" if file == STDIN else file
    rows = _rows_in_folder(folder, storage)
    return _load(text, name, rows, folder, fill, schema_of)


def _load(
    text: bytes,
    file: str,
    read_rows: Callable[[str], bytes],
    folder: Path | None,
    fill: Fill | None,
    schema_of: SchemaOf | None,
) -> LoadedManifest:
    manifest, positions = manifests.parse_with_positions(
        text, file=file, read_rows=read_rows, local_files=folder, fill=fill, schema_of=schema_of
    )
    return LoadedManifest(manifest, folder, positions)


def read_object(uri: str, storage: Storage) -> bytes:
    """Return the content of an S3 object. Raises CannotRead, StorageError."""
    text = storage.get(uri)
    if text is None:
        raise CannotRead(f"There is no object {uri}.")
    return text


def _rows_in_folder(folder: Path, storage: Callable[[], Storage]) -> Callable[[str], bytes]:
    def read_rows(reference: str) -> bytes:
        return read_object(reference, storage()) if reference.startswith("s3://") else _read_bounded(folder / reference)

    return read_rows


def _rows_on_s3(file: str, storage: Callable[[], Storage]) -> Callable[[str], bytes]:
    def read_rows(reference: str) -> bytes:
        uri = reference if reference.startswith("s3://") else join(file.rpartition("/")[0] + "/", reference)
        return read_object(uri, storage())

    return read_rows


def _read_file(file: Path) -> bytes:
    try:
        return _read_bounded(file)
    except OSError as error:
        raise CannotRead(f"{file} cannot be read: {error.strerror}.") from None


def _read_bounded(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_MAX_READ)


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(_MAX_READ)
