"""The S3 client against a real S3 server."""

from __future__ import annotations

import io
import os
import tempfile

import pytest
import urllib3

from pipeline.errors import StorageError
from pipeline.storage.multipart_upload import PART_BYTES
from pipeline.storage.s3 import SMALL_BYTES, Storage, split


class Broken(io.BytesIO):
    """A source whose connection breaks after its bytes."""

    def read(self, amount: int | None = -1, /) -> bytes:
        data = super().read(amount)
        if not data:
            raise ConnectionResetError("broken")
        return data


def uploads_left(storage: Storage, bucket: str) -> int:
    name, _ = split(bucket)
    return len(storage._s3.list_multipart_uploads(Bucket=name).get("Uploads", []))


def test_an_object_has_its_bytes_and_its_type(storage: Storage, bucket: str) -> None:
    storage.put(f"{bucket}a b/ü.txt", b"hello", "text/plain")
    assert storage.get(f"{bucket}a b/ü.txt") == b"hello"
    info = storage.info(f"{bucket}a b/ü.txt")
    assert info is not None
    assert (info.size, info.content_type) == (5, "text/plain")
    assert storage.read_prefix(f"{bucket}a b/ü.txt", 2) == b"he"


def test_a_missing_object_is_none(storage: Storage, bucket: str) -> None:
    assert storage.get(f"{bucket}none") is None
    assert storage.info(f"{bucket}none") is None
    with pytest.raises(StorageError, match="no object"):
        storage.open(f"{bucket}none")


def test_put_if_absent_writes_once(storage: Storage, bucket: str) -> None:
    assert storage.put_if_absent(f"{bucket}m", b"1", "text/plain")
    assert not storage.put_if_absent(f"{bucket}m", b"2", "text/plain")
    assert storage.get(f"{bucket}m") == b"1"


def test_of_two_conditional_writes_one_succeeds(storage: Storage, bucket: str) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"new")
        file.seek(0)
        assert storage.put_if_match(f"{bucket}r", file, "text/plain", None)
        assert not storage.put_if_match(f"{bucket}r", io.BytesIO(b"late"), "text/plain", None)
        info = storage.info(f"{bucket}r")
        assert info is not None
        assert storage.put_if_match(f"{bucket}r", io.BytesIO(b"newer"), "text/plain", info.etag)
        assert not storage.put_if_match(f"{bucket}r", io.BytesIO(b"late"), "text/plain", info.etag)
    assert storage.get(f"{bucket}r") == b"newer"


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES, SMALL_BYTES + 1, PART_BYTES, 2 * PART_BYTES + 5])
def test_a_stream_of_any_size_is_stored_unchanged(storage: Storage, bucket: str, size: int) -> None:
    data = os.urandom(size)
    assert storage.put_stream(f"{bucket}s", io.BytesIO(data), "video/mp4") == size
    with storage.open(f"{bucket}s") as source:
        assert source.read() == data
    info = storage.info(f"{bucket}s")
    assert info is not None
    assert info.content_type == "video/mp4"


def test_a_broken_stream_leaves_no_object_and_no_upload(storage: Storage, bucket: str) -> None:
    with pytest.raises(ConnectionResetError):
        storage.put_stream(f"{bucket}broken", Broken(bytes(PART_BYTES + 1)), "video/mp4")
    assert storage.info(f"{bucket}broken") is None
    assert uploads_left(storage, bucket) == 0


def test_objects_are_listed_by_prefix(storage: Storage, bucket: str) -> None:
    for name in ("x/1", "x/2", "y/3"):
        storage.put(f"{bucket}{name}", b".", "text/plain")
    assert [info.uri for info in storage.list(f"{bucket}x/")] == [f"{bucket}x/1", f"{bucket}x/2"]
    storage.delete(f"{bucket}x/1")
    storage.delete(f"{bucket}x/1")
    assert [info.uri for info in storage.list(f"{bucket}x/")] == [f"{bucket}x/2"]


def test_a_wrong_key_is_reported_with_advice(storage: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    with pytest.raises(StorageError, match=r"Check the AWS_") as caught:
        Storage(storage._endpoint).put(f"{bucket}x", b"", "text/plain")
    assert not caught.value.retryable
    assert "sesame" not in str(caught.value)


def test_an_unavailable_server_is_retryable(bucket: str, storage: Storage) -> None:
    with pytest.raises(StorageError, match="does not answer") as caught:
        Storage("http://127.0.0.1:1").get(f"{bucket}x")
    assert caught.value.retryable


def test_other_uris_are_refused() -> None:
    for uri in ("https://x/y", "s3://", "s3://bucket"):
        with pytest.raises(StorageError, match="not an s3"):
            split(uri)


@pytest.mark.parametrize("size", [5, SMALL_BYTES + 1])
def test_an_object_without_a_known_type_is_saved_by_browsers_and_not_shown(
    storage: Storage, bucket: str, size: int
) -> None:
    for uri, content_type in ((f"{bucket}a.bin", "application/octet-stream"), (f"{bucket}a.mp4", "video/mp4")):
        storage.put_stream(uri, io.BytesIO(b"<html>".ljust(size)), content_type)
        stored = storage._s3.head_object(Bucket=split(uri)[0], Key=split(uri)[1])
        assert stored["ContentType"] == content_type
        assert stored.get("ContentDisposition", "") == ("attachment" if uri.endswith(".bin") else "")


def test_a_presigned_url_needs_no_keys_and_has_a_file_name(storage: Storage, bucket: str) -> None:
    storage.put(f"{bucket}odd name #1.txt", b"hello", "text/plain")
    url = storage.presign(
        f"{bucket}odd name #1.txt", expires_s=60, content_type="text/plain", save_as='takes "1" ü.txt'
    )
    response = urllib3.request("GET", url)
    assert (response.status, response.data) == (200, b"hello")
    assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''takes%20%221%22%20%C3%BC.txt"
