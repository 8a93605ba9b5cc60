"""The files of a batch for people: which ones its folder has, and names for outputs outside of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.domain import preview_names
from pipeline.domain.local_paths import WINDOWS_DEVICE
from pipeline.domain.model import BatchRow, ItemRow, Output
from pipeline.domain.s3_names import is_below

BATCH_OBJECTS = ("manifest.yaml", "inputs/", "items/", preview_names.FOLDER)
"""The beginnings of the names, in the folder of a batch on S3, of objects that rules could take for new ones."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class BatchFile:
    """A file in the folder of a batch. `path` is relative to the folder, without `..`, safe to create on a disk.

    `size` is in bytes, None if only S3 has it. `sha256` and `etag` (of S3) are '' where they are not known.
    """

    path: str
    uri: str
    size: int | None = None
    sha256: str = ""
    etag: str = ""


def media_files(batch: BatchRow, rows: Iterable[ItemRow]) -> Iterator[BatchFile]:
    """Yield the outputs of `rows` and the images that are in the folder of the batch, each file once."""
    images: set[str] = set()
    for row in rows:
        for output in outputs_in_folder(batch, row):
            yield BatchFile(output.uri.removeprefix(batch.output), output.uri, output.size, output.sha256)
        if row.image and row.image not in images and is_below(row.image, (batch.output,)):
            images.add(row.image)
            stem = PurePosixPath(row.image).stem
            sha256 = stem if _SHA256.fullmatch(stem) else ""
            yield BatchFile(row.image.removeprefix(batch.output), row.image, sha256=sha256)


def outputs_in_folder(batch: BatchRow, row: ItemRow) -> list[Output]:
    """Return the outputs of an item that are in the folder of its batch; a damaged record may name others."""
    return [output for output in row.outputs if is_below(output.uri, (batch.output,))]


class OutputNames:
    """Names for the outputs of one batch: readable, unique also where upper and lower case are the same."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def name(self, row: ItemRow, number: int) -> str:
        """Return the name of the output with this number: `woman-1.mp4`, `woman-1-2.mp4` if there are several."""
        suffix = PurePosixPath(row.outputs[number].uri).suffix
        stem = f"_{row.id}" if WINDOWS_DEVICE.match(row.id) else row.id
        if len(row.outputs) > 1:
            stem = f"{stem}-{number + 1}"
        name, copy = f"{stem}{suffix}", 2
        while name.casefold() in self._used:
            name, copy = f"{stem} ({copy}){suffix}", copy + 1
        self._used.add(name.casefold())
        return name
