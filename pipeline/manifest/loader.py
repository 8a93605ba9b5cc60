"""The manifest that a command or a schedule names: a file, `-` for stdin, or an `s3://` address."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.domain.model import Manifest
from pipeline.domain.s3_names import lower_scheme
from pipeline.errors import CannotRead, InvalidManifest, Problem
from pipeline.manifest import parser as manifests
from pipeline.manifest.columns import Column
from pipeline.manifest.item_positions import ItemPositions
from pipeline.manifest.model_check import SchemaOf
from pipeline.manifest.template import Fill
from pipeline.manifest.yaml.document import PathProblem
from pipeline.net.notify_address import notify_refusal
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
    """Where its items are written; None if the manifest was generated."""
    notes: tuple[str, ...] = ()
    """Notes for the person who submits it."""

    @property
    def columns(self) -> list[Column]:
        """What the columns of its file of rows mean."""
        return self.positions.rows.mapping if self.positions else []

    def check_notify(self, hosts: Iterable[str]) -> None:
        """Raise InvalidManifest if the service does not send to the address of `notify`. `hosts`: `notify_hosts`."""
        message = notify_refusal(self.manifest.notify, hosts) if self.manifest.notify else None
        if message is None:
            return
        if self.positions is None:
            raise InvalidManifest([Problem(self.manifest.name, 1, 1, message)])
        raise InvalidManifest(self.positions.document.locate([PathProblem(("notify",), message)]))


def load_manifest(
    file: str,
    storage: Callable[[], Storage],
    *,
    fill: Fill | None = None,
    schema_of: SchemaOf | None = None,
    ignore_columns: tuple[str, ...] = (),
) -> LoadedManifest:
    """Read and validate a manifest; `fill` replaces its placeholders, `schema_of` returns the schema of its model;
    `ignore_columns` names columns of rows that are passed over.

    Raises InvalidManifest with all problems, CannotRead, StorageError.
    """
    parse = partial(parse_manifest, fill=fill, schema_of=schema_of, ignore_columns=ignore_columns)
    file = lower_scheme(file)
    if file.startswith("s3://"):
        return parse(read_object(file, storage()), file, rows_on_s3(file, storage), None)
    folder = Path() if file == STDIN else Path(file).parent
    text = _read_stdin() if file == STDIN else _read_file(Path(file))
    name = "stdin" if file == STDIN else file
    return parse(text, name, rows_in_folder(folder, storage), folder)


def parse_manifest(
    text: bytes,
    file: str,
    read_rows: Callable[[str], bytes],
    folder: Path | None,
    *,
    fill: Fill | None = None,
    schema_of: SchemaOf | None = None,
    ignore_columns: tuple[str, ...] = (),
) -> LoadedManifest:
    """Return the manifest in `text`, whose name in messages is `file`, see `parser.parse_with_positions`."""
    manifest, positions = manifests.parse_with_positions(
        text,
        file=file,
        read_rows=read_rows,
        local_files=folder,
        fill=fill,
        schema_of=schema_of,
        ignore_columns=ignore_columns,
    )
    return LoadedManifest(manifest, folder, positions, tuple(positions.rows.notes))


def read_object(uri: str, storage: Storage) -> bytes:
    """Return the content of an S3 object. Raises CannotRead, StorageError."""
    text = storage.get(uri)
    if text is None:
        raise CannotRead(f"There is no object {uri}.")
    return text


def rows_in_folder(folder: Path, storage: Callable[[], Storage]) -> Callable[[str], bytes]:
    """Return what reads a file of rows beside a manifest in a folder."""

    def read_rows(reference: str) -> bytes:
        return read_object(reference, storage()) if reference.startswith("s3://") else _read_bounded(folder / reference)

    return read_rows


def rows_on_s3(file: str, storage: Callable[[], Storage]) -> Callable[[str], bytes]:
    """Return what reads a file of rows beside a manifest on S3."""

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
