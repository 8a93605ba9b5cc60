"""Copies files of a batch from S3 to a folder of this machine. A file that is there already is not fetched again."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pipeline.domain.batch_files import BatchFile
from pipeline.errors import CopyFailed, DailiesError, StorageError
from pipeline.storage.object_chunks import chunks
from pipeline.storage.s3 import Storage

MAX_CONCURRENT_FILES = 8
_MAX_FAILURES_IN_A_ROW = 3 * MAX_CONCURRENT_FILES
"""After so many files that S3 did not deliver for now, the fault is not in the files."""
_MD5 = re.compile(r'"([0-9a-f]{32})"')


class FolderInUse(DailiesError):
    """Another command copies to the folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"Another `dailies pull` writes to {folder}: wait for its end, or choose another folder.")


class CannotWrite(DailiesError):
    """A file cannot be written. Check the permissions of the folder and the space on the disk."""


@dataclass
class CopyResult:
    """What became of the files. `fetched_bytes`: of the files that were fetched."""

    fetched: int = 0
    present: int = 0
    fetched_bytes: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Expected:
    """A file as it must be on the disk. `checksum`: algorithm and hex digest; None: S3 states none."""

    file: BatchFile
    size: int
    checksum: tuple[str, str] | None

    def is_at(self, path: Path) -> bool:
        """Return whether `path` has these bytes, as far as size and checksum show."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.checksum is None:
            return True
        algorithm, digest = self.checksum
        with path.open("rb") as source:
            found = hashlib.file_digest(source, lambda: hashlib.new(algorithm, usedforsecurity=False))
        return found.hexdigest() == digest


class FolderCopy:
    """Copies files to `folder`. `on_bytes` gets the size of each piece that arrived, from several threads."""

    def __init__(self, storage: Storage, folder: Path, on_bytes: Callable[[int], object] = lambda size: None) -> None:
        self._storage = storage
        self._folder = folder
        self._on_bytes = on_bytes
        self._stop = threading.Event()
        self._failures_in_a_row = 0

    def run(self, files: Iterable[BatchFile], on_file: Callable[[], object] = lambda: None) -> CopyResult:
        """Copy `files`, MAX_CONCURRENT_FILES at a time; `on_file` is called after each.

        A file that S3 lacks or does not deliver, or whose bytes are wrong, is one of the `failures` of the result.
        Raises StorageError or CopyFailed if S3 fails for many files in a row, FolderInUse, CannotWrite.
        """
        result = CopyResult()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._folder):
                self._run(iter(files), result, on_file)
        except OSError as error:
            place = error.filename or self._folder
            raise CannotWrite(f"{place} cannot be written: {error.strerror or error}.") from None
        return result

    def _run(self, files: Iterator[BatchFile], result: CopyResult, on_file: Callable[[], object]) -> None:
        executor = ThreadPoolExecutor(MAX_CONCURRENT_FILES, thread_name_prefix="pull")
        running: set[Future[int | None]] = set()
        try:
            while True:
                free = 2 * MAX_CONCURRENT_FILES - len(running)
                running |= {executor.submit(self._copy, file) for file in islice(files, free)}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._count(future, result)
                    on_file()
        finally:
            self._stop.set()
            executor.shutdown(cancel_futures=True)

    def _count(self, future: Future[int | None], result: CopyResult) -> None:
        """Add the outcome of one file to `result`. Raises what concerns all files."""
        try:
            size = future.result()
        except (CopyFailed, StorageError) as error:
            result.failures.append(str(error))
            self._failures_in_a_row += error.retryable
            if self._failures_in_a_row >= _MAX_FAILURES_IN_A_ROW:
                raise
            return
        self._failures_in_a_row = 0
        if size is None:
            result.present += 1
        else:
            result.fetched += 1
            result.fetched_bytes += size

    def _copy(self, file: BatchFile) -> int | None:
        """Copy one file. Return its size in bytes, None if it was there. Raises CopyFailed, StorageError, OSError."""
        expected = self._expected(file)
        target = self._folder / file.path
        if expected.checksum and expected.is_at(target):
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        if expected.checksum is None:
            part.unlink(missing_ok=True)
        # What an interrupted copy left may be of another version of the file: then it is fetched from its start.
        for _ in range(2):
            self._fetch(expected, part)
            if expected.is_at(part):
                part.replace(target)
                return expected.size
            part.unlink()
        raise CopyFailed(f"{file.uri} has other bytes on S3 than those that were recorded.", retryable=False)

    def _expected(self, file: BatchFile) -> _Expected:
        size, etag = file.size, file.etag
        if size is None:
            info = self._storage.info(file.uri)
            if info is None:
                raise CopyFailed(f"There is no object {file.uri}.", retryable=False)
            size, etag = info.size, info.etag
        # The ETag of an object that was stored with one request is its MD5, unless the bucket encrypts with own keys.
        md5 = _MD5.fullmatch(etag)
        checksum = ("sha256", file.sha256) if file.sha256 else ("md5", md5[1]) if md5 else None
        return _Expected(file, size, checksum)

    def _fetch(self, expected: _Expected, part: Path) -> None:
        """Append to `part` what it lacks. There is no `part` before the first bytes have come."""
        start = part.stat().st_size if part.exists() else 0
        if start > expected.size:
            part.unlink()
            start = 0
        for chunk in chunks(self._storage, expected.file.uri, expected.size, start=start):
            if self._stop.is_set():
                raise CopyFailed("The copy was stopped.", retryable=True)
            with part.open("ab") as copy:
                copy.write(chunk)
            self._on_bytes(len(chunk))
        part.touch()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock `folder` for this command: two of them would write to the same unfinished files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(folder) from None
        yield
    finally:
        os.close(descriptor)
