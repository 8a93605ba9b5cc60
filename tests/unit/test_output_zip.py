"""The archive of outputs: what any ZIP program reads, made with little memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from support.ledger_fixtures import a_row

from pipeline.batches import output_zip
from pipeline.batches.output_zip import ZipEntry, zip_entries, zip_pieces
from pipeline.domain.model import ItemRow, Output
from pipeline.errors import StorageError
from pipeline.storage import object_chunks
from pipeline.storage.s3 import ObjectInfo, Storage

BATCH = a_row("b", 1)
MIB = 1024 * 1024


class FakeStorage(Storage):
    """Objects in memory; each URI in `failures` fails so many times, as if S3 was away."""

    def __init__(self, objects: Mapping[str, bytes], failures: dict[str, int] | None = None) -> None:
        self._objects = objects
        self._failures = failures or {}

    def read_range(self, info: ObjectInfo, start: int, count: int) -> bytes:
        if self._failures.get(info.uri, 0):
            self._failures[info.uri] -= 1
            raise StorageError("S3 is away.", retryable=True)
        if info.uri not in self._objects:
            raise StorageError(f"S3 refused {info.uri}: NoSuchKey", retryable=False)
        return self._objects[info.uri][start : start + count]


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_chunks, "_BACKOFF_S", 0)


def entry(name: str, data: bytes) -> ZipEntry:
    return ZipEntry(f"b/{name}", f"s3://bucket/b/{name}", len(data))


def opened(pieces: Iterator[bytes]) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert archive.testzip() is None
    return archive


def test_entries_are_in_a_folder_with_the_id_of_the_batch() -> None:
    outputs = tuple(Output(f"{BATCH.output}items/a/{n}.mp4", "video/mp4", 3, "ab") for n in range(2))
    outside = (Output("s3://bucket/other/0.mp4", "video/mp4", 3, "ab"),)
    row = ItemRow("a", "succeeded", None, "p", outputs=outputs)
    found = list(zip_entries(BATCH, [row, replace(row, id="c", outputs=outside)]))
    assert [(each.name, each.size) for each in found] == [("b/a-1.mp4", 3), ("b/a-2.mp4", 3)]


def test_the_archive_has_every_byte_stored_and_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_chunks, "CHUNK_BYTES", 1000)
    files = {"a.mp4": bytes(range(256)) * 20, "empty.bin": b"", "z.png": b"z"}
    storage = FakeStorage({f"s3://bucket/b/{name}": data for name, data in files.items()})
    archive = opened(zip_pieces(storage, BATCH, [entry(name, data) for name, data in files.items()]))
    assert {name.removeprefix("b/"): archive.read(name) for name in archive.namelist()} == files
    assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    assert all(info.external_attr >> 16 == 0o644 for info in archive.infolist())


def test_an_output_that_s3_does_not_have_any_more_is_named_in_the_archive() -> None:
    storage = FakeStorage({"s3://bucket/b/a.mp4": b"video"})
    archive = opened(zip_pieces(storage, BATCH, [entry("gone.mp4", b"video"), entry("a.mp4", b"video")]))
    assert archive.namelist() == ["b/a.mp4", f"b/{output_zip.MISSING}"]
    assert b"gone.mp4" in archive.read(f"b/{output_zip.MISSING}")


def test_a_short_failure_of_s3_is_repeated_and_a_longer_one_ends_the_archive() -> None:
    data = {"s3://bucket/b/a.mp4": b"video"}
    assert opened(zip_pieces(FakeStorage(data, {"s3://bucket/b/a.mp4": 2}), BATCH, [entry("a.mp4", b"video")]))
    with pytest.raises(StorageError, match="S3 is away"):
        list(zip_pieces(FakeStorage(data, {"s3://bucket/b/a.mp4": 3}), BATCH, [entry("a.mp4", b"video")]))


def test_an_object_that_is_shorter_than_recorded_is_not_passed_off_as_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_chunks, "CHUNK_BYTES", 4)
    storage = FakeStorage({"s3://bucket/b/a.mp4": b"video"})
    with pytest.raises(StorageError, match="has 5 bytes, not 9"):
        list(zip_pieces(storage, BATCH, [ZipEntry("b/a.mp4", "s3://bucket/b/a.mp4", 9)]))


def test_memory_does_not_grow_with_the_size_of_the_outputs() -> None:
    class Zeros(FakeStorage):
        def read_range(self, info: ObjectInfo, start: int, count: int) -> bytes:
            return bytes(min(count, info.size - start))

    entries = [ZipEntry(f"b/{n}.mp4", f"s3://bucket/b/{n}.mp4", 24 * MIB) for n in range(4)]
    tracemalloc.start()
    size = sum(len(piece) for piece in zip_pieces(Zeros({}), BATCH, entries))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 96 * MIB
    assert peak < 24 * MIB


def test_an_entry_of_several_gigabytes_has_the_large_format(monkeypatch: pytest.MonkeyPatch) -> None:
    # The library decides by the size that is announced: no test needs gigabytes for it.
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    data = b"v" * 2000
    storage = FakeStorage({"s3://bucket/b/a.mp4": data})
    archive = opened(zip_pieces(storage, BATCH, [entry("a.mp4", data)]))
    assert archive.read("b/a.mp4") == data
    assert archive.infolist()[0].extract_version == zipfile.ZIP64_VERSION
