"""Multipart uploads: large streams in parts, with bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.domain.media_types import BINARY
from pipeline.errors import StorageError
from pipeline.storage.s3_errors import none_if_missing, translate_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART_BYTES = 5 * 1024 * 1024
"""Smallest part that S3 accepts."""
_MAX_CONCURRENT_UPLOADS = 2
_MAX_CONCURRENT_PARTS = 4
"""Parts in memory that are being sent. Each upload holds one more, which it reads."""


class Readable(Protocol):
    """A stream that is read from start to end."""

    def read(self, amount: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class _Upload:
    """A multipart upload at S3."""

    bucket: str
    key: str
    id: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class MultipartUploader:
    """Uploads streams in parts. `client` returns the S3 client. Thread-safe."""

    def __init__(self, client: Callable[[], S3Client]) -> None:
        self._client = client
        self._uploads = threading.BoundedSemaphore(_MAX_CONCURRENT_UPLOADS)
        self._parts = threading.BoundedSemaphore(_MAX_CONCURRENT_PARTS)

    def upload(self, bucket: str, key: str, first: bytearray, source: Readable, content_type: str) -> int:
        """Upload `first` and the rest of `source`; return the size in bytes.

        If anything fails, the upload is aborted and no object appears. Raises StorageError and what `source` raises.
        """
        with self._uploads:
            upload = self._create(bucket, key, content_type)
            parts: list[Future[dict[str, Any]]] = []
            try:
                total = self._send_parts(upload, first, source, parts)
                self._complete(upload, [part.result() for part in parts])
            except BaseException:
                # A part that arrives after the abort would be stored, and billed, forever.
                wait(parts)
                with suppress(StorageError):
                    self.abort(bucket, key, upload.id)
                raise
            return total

    def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """Abort an upload. An upload that does not exist is ignored."""

        def abort() -> object:
            return self._client().abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)

        with translate_errors(f"s3://{bucket}/{key}"):
            none_if_missing(abort)

    def _create(self, bucket: str, key: str, content_type: str) -> _Upload:
        with translate_errors(f"s3://{bucket}/{key}"):
            headers = type_headers(content_type)
            response = self._client().create_multipart_upload(Bucket=bucket, Key=key, **headers)
            return _Upload(bucket, key, response["UploadId"])

    def _send_parts(
        self, upload: _Upload, first: bytearray, source: Readable, parts: list[Future[dict[str, Any]]]
    ) -> int:
        """Read `source` to its end and append each part to `parts`; return the total bytes."""
        total = 0
        chunk = read_fully(source, PART_BYTES, first)
        while chunk:
            parts.append(self._submit_part(upload, len(parts) + 1, chunk))
            total += len(chunk)
            chunk = read_fully(source, PART_BYTES)
        return total

    def _submit_part(self, upload: _Upload, number: int, data: bytearray) -> Future[dict[str, Any]]:
        """Send a part in another thread. Wait first if the maximum number of parts is in memory."""
        self._parts.acquire()
        try:
            part = _executor().submit(self._put_part, upload, number, data)
        except BaseException:
            self._parts.release()
            raise
        part.add_done_callback(lambda _: self._parts.release())
        return part

    def _put_part(self, upload: _Upload, number: int, data: Any) -> dict[str, Any]:
        with translate_errors(upload.uri):
            response = self._client().upload_part(
                Bucket=upload.bucket, Key=upload.key, UploadId=upload.id, PartNumber=number, Body=data
            )
            # If boto3 sends checksums, S3 compares those of the parts at the end.
            checksums = {name: value for name, value in response.items() if name.startswith("Checksum")}
            checksums.pop("ChecksumType", None)
            return {"ETag": strong_etag(response["ETag"]), "PartNumber": number, **checksums}

    def _complete(self, upload: _Upload, parts: Any) -> None:
        with translate_errors(upload.uri):
            self._client().complete_multipart_upload(
                Bucket=upload.bucket, Key=upload.key, UploadId=upload.id, MultipartUpload={"Parts": parts}
            )


def strong_etag(etag: str) -> str:
    """Return an ETag in quotes, '' for none. A weak one (`W/"…"`) equals no other in a condition or a list of parts."""
    value = etag.removeprefix("W/").strip('"')
    return f'"{value}"' if value else ""


def type_headers(content_type: str) -> dict[str, Any]:
    """Return the headers of a new object. A browser saves what has no known type, and does not show it."""
    headers = {"ContentType": content_type}
    return {**headers, "ContentDisposition": "attachment"} if content_type == BINARY else headers


def read_fully(source: Readable, count: int, first: bytes | bytearray = b"") -> bytearray:
    """Return `first` followed by bytes of `source`: `count` bytes in total, fewer only at the end of `source`."""
    data = bytearray(first)
    while len(data) < count and (piece := source.read(count - len(data))):
        data += piece
    return data


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MAX_CONCURRENT_PARTS, thread_name_prefix="upload-part")
