"""The folder of a batch on this machine: what S3 has of the batch, with a gallery that plays from there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.batches.batch_items import BatchItems
from pipeline.batches.folder_copy import CopyResult, FolderCopy
from pipeline.domain.batch_files import BatchFile, media_files, outputs_in_folder
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.preview_names import FOLDER, previews_of
from pipeline.domain.s3_names import is_below
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.gallery import gallery_page
from pipeline.storage.s3 import Storage, join

GALLERY = "index.html"
_RESULTS = ("manifest.yaml", "results.jsonl", "results.csv", "results.json")


@dataclass(frozen=True)
class BatchFolder:
    """A batch to copy to `folder`. `approved`: only the outputs of approved items, with their images."""

    storage: Storage
    items: BatchItems
    batch: BatchRow
    folder: Path
    approved: bool = False

    @property
    def gallery(self) -> Path:
        """The page that shows the folder."""
        return self.folder / GALLERY

    def outputs(self) -> int:
        """Return the number of outputs to copy."""
        return sum(len(outputs_in_folder(self.batch, row)) for row in self._rows())

    def files(self) -> list[BatchFile]:
        """Return the files to copy: outputs and images first, results.json last, as on S3. Raises StorageError."""
        names = _RESULTS if self._makes_gallery else (*_RESULTS[:-1], GALLERY, _RESULTS[-1])
        return [*media_files(self.batch, self._rows()), *self._previews(), *self._existing(names)]

    def pull(
        self,
        files: list[BatchFile],
        *,
        on_bytes: Callable[[int], object] = lambda size: None,
        on_file: Callable[[], object] = lambda: None,
    ) -> CopyResult:
        """Copy `files` to the folder. Raises StorageError, FolderInUse, CannotWrite."""
        result = FolderCopy(self.storage, self.folder, on_bytes).run(files, on_file)
        if self._makes_gallery:
            self._write_gallery()
        return result

    @property
    def _makes_gallery(self) -> bool:
        """Whether the page on S3, if there is one, shows more or less than the folder has."""
        return self.approved or self.batch.status not in BATCH_TERMINAL

    def _rows(self) -> Iterator[ItemRow]:
        return (row for row in self.items.stream(self.batch) if row.is_approved or not self.approved)

    def _previews(self) -> Iterator[BatchFile]:
        wanted = {name for row in self._rows() for name in previews_of(row)} if self.approved else None
        for info in self.storage.list(join(self.batch.output, FOLDER)):
            name = info.uri.rpartition("/")[2]
            if is_below(info.uri, (self.batch.output,)) and (wanted is None or name in wanted):
                yield BatchFile(info.uri.removeprefix(self.batch.output), info.uri, info.size, etag=info.etag)

    def _existing(self, names: tuple[str, ...]) -> Iterator[BatchFile]:
        for name in names:
            if info := self.storage.info(join(self.batch.output, name)):
                yield BatchFile(name, info.uri, info.size, etag=info.etag)

    def _write_gallery(self) -> None:
        counts = Counter(row.status for row in self._rows())
        shown = replace(self.batch, counts=counts, total=counts.total())
        with self.gallery.open("w", encoding="utf-8", errors="replace") as page:
            previews = {file.name for file in (self.folder / FOLDER).glob("*.webp")}
            page.writelines(gallery_page.page(shown, self._rows(), previews))
