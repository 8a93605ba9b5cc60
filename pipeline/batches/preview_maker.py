"""Makes the previews of an item and stores them below the folder of its batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, BinaryIO

import structlog

from pipeline.domain.image_types import SIGNATURE_BYTES
from pipeline.domain.media_signatures import sniff_media
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.preview_names import FOLDER, MEDIA_TYPE, image_preview, output_preview
from pipeline.domain.s3_names import is_below
from pipeline.errors import OperationFailed, PreviewFailed
from pipeline.ledger.previews import PreviewStore
from pipeline.net.download import Download, Downloader
from pipeline.previews.renderer import render_file
from pipeline.storage.s3 import Storage, join

MAX_SOURCE_BYTES = 256 * 2**20
"""A larger file has no preview."""
MAX_READ_S = 120.0
_PIECE_BYTES = 256 * 1024

log = structlog.get_logger()


@dataclass(frozen=True)
class Source:
    """A file of an item, on S3 or at a URL, and the name of its preview."""

    item_id: str
    name: str
    uri: str


class PreviewMaker:
    """Makes previews.

    `downloader`: reads images from URLs. `allow`: whether the image on S3 of an item of a batch may be shown.
    `stopped`: whether this process must stop.
    """

    def __init__(
        self,
        storage: Storage,
        downloader: Downloader,
        store: PreviewStore,
        allow: Callable[[str, BatchRow], bool],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._storage = storage
        self._downloader = downloader
        self._store = store
        self._allow = allow
        self._stopped = stopped

    def missing(self, batch: BatchRow, rows: Iterable[ItemRow]) -> list[Source]:
        """Return the files of items whose previews were neither made nor given up, one for each preview."""
        sources = {source.name: source for row in rows for source in self._sources(batch, row)}
        return [sources[name] for name in self._store.missing(batch.id, list(sources))]

    def make(self, batch: BatchRow, source: Source) -> None:
        """Make one preview. A file that has none is recorded as such. Raises OperationFailed if a retry may help."""
        target = join(batch.output, FOLDER, source.name)
        try:
            # It may be there if Redis was lost since.
            if self._storage.info(target) is None:
                self._storage.put(target, self._render(source), MEDIA_TYPE)
        except OperationFailed as error:
            if error.retryable:
                raise
            log.info("preview_not_made", batch=batch.id, item=source.item_id, preview=source.name, error=str(error))
            self._store.record(batch.id, source.name, is_made=False)
        else:
            self._store.record(batch.id, source.name, is_made=True)

    def _sources(self, batch: BatchRow, row: ItemRow) -> Iterator[Source]:
        if row.image and (is_web(row.image) or self._allow(row.image, batch)):
            yield Source(row.id, image_preview(row.image), row.image)
        for output in row.outputs:
            name = output_preview(output)
            if name and is_below(output.uri, (batch.output,)):
                yield Source(row.id, name, output.uri)

    def _render(self, source: Source) -> bytes:
        # Without a name in the file system: a worker that is killed leaves nothing behind.
        with TemporaryFile() as file:
            try:
                self._read(source.uri, file)
            except OSError as error:
                raise PreviewFailed(
                    f"The temporary file cannot be written: {error.strerror}.", retryable=True
                ) from None
            file.seek(0)
            return render_file(file, sniff_media(file.read(SIGNATURE_BYTES)), self._stopped)

    def _read(self, uri: str, file: IO[bytes]) -> None:
        deadline = time.monotonic() + MAX_READ_S
        with self._open(uri) as source:
            while piece := source.read(_PIECE_BYTES):
                file.write(piece)
                if file.tell() > MAX_SOURCE_BYTES:
                    raise PreviewFailed(f"It is larger than {MAX_SOURCE_BYTES // 2**20} MiB.", retryable=False)
                if time.monotonic() > deadline:
                    raise PreviewFailed(f"S3 did not send it in {MAX_READ_S:.0f} s.", retryable=True)
        file.flush()

    def _open(self, uri: str) -> BinaryIO | Download:
        return self._downloader.open(uri) if is_web(uri) else self._storage.open(uri)


def is_web(uri: str) -> bool:
    """Return whether an image is at a URL, and not on S3."""
    return uri.startswith(("https://", "http://"))
