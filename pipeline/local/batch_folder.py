"""The folder of a batch on this machine: what S3 has of the batch, with a gallery that plays from there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.batches.batch_items import BatchItems
from pipeline.batches.folder_copy import CopyResult, FolderCopy
from pipeline.domain.batch_files import BatchFile, media_files, outputs_in_folder
from pipeline.domain.local_paths import LocalPaths
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
        names = (*_RESULTS[:-1], GALLERY, _RESULTS[-1])
        paths = LocalPaths(names)
        found = [*media_files(self.batch, self._rows()), *self._previews(), *self._existing(names)]
        files = [replace(file, path=paths.path(file.path)) for file in found]
        makes_gallery = self._makes_gallery(files)
        return [file for file in files if file.path != GALLERY or not makes_gallery]

    def renamed(self, files: list[BatchFile]) -> list[tuple[str, str]]:
        """Return the paths of `files` on S3, and those on this machine, where they differ."""
        paths = [(file.uri.removeprefix(self.batch.output), file.path) for file in files]
        return [(there, here) for there, here in paths if there != here]

    def pull(
        self,
        files: list[BatchFile],
        *,
        on_bytes: Callable[[int], object] = lambda size: None,
        on_file: Callable[[], object] = lambda: None,
    ) -> CopyResult:
        """Copy `files` to the folder. Raises StorageError, FolderInUse, CannotWrite."""
        result = FolderCopy(self.storage, self.folder, on_bytes).run(files, on_file)
        if self._makes_gallery(files):
            self._write_gallery(dict(self.renamed(files)))
        return result

    def _makes_gallery(self, files: list[BatchFile]) -> bool:
        """Return whether the page on S3, if there is one, shows more or less than the folder has, or other names."""
        return self.approved or self.batch.status not in BATCH_TERMINAL or bool(self.renamed(files))

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

    def _write_gallery(self, renamed: dict[str, str]) -> None:
        counts = Counter(row.status for row in self._rows())
        shown = replace(self.batch, counts=counts, total=counts.total())
        with self.gallery.open("w", encoding="utf-8", errors="replace") as page:
            previews = {file.name for file in (self.folder / FOLDER).glob("*.webp")}
            rows = (self._as_here(row, renamed) for row in self._rows())
            page.writelines(gallery_page.page(shown, rows, previews))

    def _as_here(self, row: ItemRow, renamed: dict[str, str]) -> ItemRow:
        """Return a row whose files have their names on this machine."""

        def here(uri: str) -> str:
            path = uri.removeprefix(self.batch.output)
            return join(self.batch.output, renamed[path]) if path in renamed else uri

        outputs = tuple(replace(output, uri=here(output.uri)) for output in row.outputs)
        return replace(row, outputs=outputs, image=row.image and here(row.image))
