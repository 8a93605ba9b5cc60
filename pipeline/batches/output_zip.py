"""Outputs of a batch as one ZIP archive, made while it is sent: never more than one piece is in memory.

Videos are compressed already, so the entries are stored. The central directory of 100,000 entries takes about 60 MB.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from pipeline.domain.batch_files import OutputNames
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.s3_names import is_below
from pipeline.errors import StorageError
from pipeline.storage.object_chunks import chunks
from pipeline.storage.s3 import Storage

MISSING = "_missing.txt"
"""The entry that names the outputs that S3 does not have any more. No output can have this name."""
_READABLE_FILE = 0o644 << 16


@dataclass(frozen=True)
class ZipEntry:
    """One output in the archive. `size` is in bytes."""

    name: str
    uri: str
    size: int


def zip_entries(batch: BatchRow, rows: Iterable[ItemRow]) -> Iterator[ZipEntry]:
    """Yield the outputs of `rows`, in a folder with the id of the batch: `la-street/woman-1.mp4`."""
    names = OutputNames()
    for row in rows:
        for number, output in enumerate(row.outputs):
            if is_below(output.uri, (batch.output,)):
                yield ZipEntry(f"{batch.id}/{names.name(row, number)}", output.uri, output.size)


def zip_pieces(storage: Storage, batch: BatchRow, entries: Iterable[ZipEntry]) -> Generator[bytes]:
    """Yield the archive of `entries` in pieces. An output that S3 does not have any more is named in MISSING.

    Raises StorageError if S3 fails; the archive is then incomplete, and programs that open it report that.
    """
    sink = _Sink()
    missing: list[str] = []
    # The library finds out that the sink cannot seek, and writes sizes and checksums after the data.
    with ZipFile(cast(Any, sink), "w", ZIP_STORED) as archive:
        for entry in entries:
            source = chunks(storage, entry.uri, entry.size)
            try:
                first = next(source, b"")
            except StorageError as error:
                if error.retryable:
                    raise
                missing.append(f"{entry.name.removeprefix(f'{batch.id}/')}: {error}\n")
                continue
            with archive.open(_info(batch, entry.name, entry.size), "w") as target:
                for chunk in chain([first], source):
                    target.write(chunk)
                    yield sink.take()
        if missing:
            archive.writestr(_info(batch, f"{batch.id}/{MISSING}"), "".join(missing))
    yield sink.take()


def _info(batch: BatchRow, name: str, size: int = 0) -> ZipInfo:
    info = ZipInfo(name, _moment(batch).timetuple()[:6])
    # From 2 GiB on the library chooses the format of large entries by this size.
    info.file_size = size
    info.external_attr = _READABLE_FILE
    return info


def _moment(batch: BatchRow) -> datetime:
    return (batch.finished or batch.created).astimezone(UTC)


class _Sink:
    """A file that can only be written to."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: `take` returns what was written."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
