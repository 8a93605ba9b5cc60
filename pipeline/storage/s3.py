"""Objects on S3, named by `s3://bucket/key` URIs.

A missing object is None, not an error. All requests have timeouts. All other failures are StorageErrors.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.domain.media_types import BINARY
from pipeline.errors import StorageError
from pipeline.storage.multipart_upload import MultipartUploader, Readable, read_fully, type_headers
from pipeline.storage.s3_errors import is_precondition_failure, none_if_missing, translate_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SMALL_BYTES = 1024 * 1024
"""Maximum size of a stream that is stored with one request, from memory."""
_MAX_BUFFERED_BYTES = 64 * 1024 * 1024
_READ_BUFFER_BYTES = 64 * 1024

_CONFIG = Config(
    # Presigned URLs need this too: the default is a signature of version 2.
    signature_version="s3v4",
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=64,
    retries={"mode": "standard", "total_max_attempts": 4},
    # Not all S3 servers support the newer default checksums.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


def _once(timeout_s: float) -> Config:
    return Config(connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 1})


@dataclass(frozen=True)
class ObjectInfo:
    """One object. A listing sets no content type ('') and no version; only a listing sets `modified`."""

    uri: str
    size: int
    """Size in bytes."""
    content_type: str
    etag: str
    version: str = ""
    """Version id, '' in a bucket without versioning."""
    modified: datetime | None = None


def split(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into (bucket, key). Raises StorageError for any other text."""
    bucket, slash, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not slash:
        raise StorageError(f"{uri!r} is not an s3://bucket/key URI.", retryable=False)
    return bucket, key


def join(prefix: str, *parts: str) -> str:
    """Return the URI of `parts` under `prefix`. `prefix` and all parts but the last end with a slash."""
    return prefix + "".join(parts)


class Storage:
    """An S3 server. Thread-safe; connections are reused.

    `endpoint`: the URL of the server, None for AWS. boto3 reads region and credentials. `timeout_s`: the time limit of
    each request, which is then not repeated; None: a minute, and three retries. All methods raise StorageError.
    """

    def __init__(self, endpoint: str | None, *, timeout_s: float | None = None) -> None:
        self._endpoint = endpoint
        self._config = _CONFIG if timeout_s is None else _CONFIG.merge(_once(timeout_s))
        self._client: S3Client | None = None
        self._client_lock = threading.Lock()
        self._multipart = MultipartUploader(lambda: self._s3)

    @property
    def _s3(self) -> S3Client:
        """The client. It is created at its first use, because that takes a tenth of a second."""
        with self._client_lock:
            if self._client is None:
                try:
                    self._client = boto3.session.Session().client(
                        "s3", endpoint_url=self._endpoint, config=self._config
                    )
                except (BotoCoreError, ValueError) as error:
                    raise StorageError(f"The S3 client is not configured: {error}", retryable=False) from None
            return self._client

    def connect(self) -> None:
        """Create the client now, and not with the first request."""
        _ = self._s3

    def put(self, uri: str, data: bytes | bytearray | BinaryIO, content_type: str) -> None:
        """Write an object with one request, from memory or from an open file."""
        bucket, key = split(uri)
        body: Any = data
        with translate_errors(uri):
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, **type_headers(content_type))

    def put_if_absent(self, uri: str, data: bytes | BinaryIO, content_type: str) -> bool:
        """Write an object if there is none. Return False if there is one."""
        return self._put_if(uri, data, content_type, IfNoneMatch="*")

    def put_if_match(self, uri: str, data: bytes | BinaryIO, content_type: str, etag: str | None) -> bool:
        """Replace the object with this `etag`, None: write an object if there is none. Return False if not."""
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        return self._put_if(uri, data, content_type, **condition)

    def _put_if(self, uri: str, data: bytes | BinaryIO, content_type: str, **condition: Any) -> bool:
        bucket, key = split(uri)
        with translate_errors(uri):
            try:
                self._s3.put_object(Bucket=bucket, Key=key, Body=data, **type_headers(content_type), **condition)
            except ClientError as error:
                if is_precondition_failure(error):
                    return False
                raise
        return True

    def put_stream(self, uri: str, source: Readable, content_type: str) -> int:
        """Copy `source` to an object with bounded memory; return its size in bytes.

        The object appears only after all of `source` was read. Also raises what `source` raises.
        """
        first = read_fully(source, SMALL_BYTES + 1)
        if len(first) <= SMALL_BYTES:
            self.put(uri, first, content_type)
            return len(first)
        return self._multipart.upload(*split(uri), first, source, content_type)

    def get(self, uri: str, *, max_bytes: int = _MAX_BUFFERED_BYTES) -> bytes | None:
        """Return the bytes of an object, None if there is none. Raises StorageError if it exceeds `max_bytes`."""
        data = self.read_prefix(uri, max_bytes + 1)
        if data is not None and len(data) > max_bytes:
            raise StorageError(f"{uri} is larger than {max_bytes:,} bytes.", retryable=False)
        return data

    def read_prefix(self, uri: str, count: int) -> bytes | None:
        """Return the first `count` bytes of an object, None if there is none."""
        result = self.get_with_info(uri, count)
        return None if result is None else result[1]

    def get_with_info(self, uri: str, count: int) -> tuple[ObjectInfo, bytes] | None:
        """Return the info and the first `count` bytes of the same version of an object, None if there is none."""
        response = self._get_object(uri)
        if response is None:
            return None
        with _open_body(uri, response) as source:
            return _info(uri, response), source.read(count)

    def read_range(self, info: ObjectInfo, start: int, count: int) -> bytes:
        """Return at most `count` bytes from `start` on of an object that exists. Raises StorageError."""
        if not start < info.size:
            return b""
        bucket, key = split(info.uri)
        with translate_errors(info.uri):
            response = self._s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{start + count - 1}")
        with _open_body(info.uri, response) as source:
            return source.read(count)

    def open(self, uri: str) -> BinaryIO:
        """Open an object for one read from start to end. Raises StorageError if there is none."""
        response = self._get_object(uri)
        if response is None:
            raise StorageError(f"There is no object {uri}.", retryable=False)
        return _open_body(uri, response)

    def _get_object(self, uri: str) -> Mapping[str, Any] | None:
        bucket, key = split(uri)
        with translate_errors(uri):
            return none_if_missing(lambda: self._s3.get_object(Bucket=bucket, Key=key))

    def presign(
        self, uri: str, *, expires_s: int, content_type: str, save_as: str | None = None, cache_s: int = 0
    ) -> str:
        """Return a URL that allows anyone to GET the object for `expires_s` seconds.

        The response has `content_type`, whatever type the object has. `save_as`: the name of the file that a browser
        saves, None to show the object. `cache_s`: for how many seconds a browser keeps it without asking again.
        """
        bucket, key = split(uri)
        params = {"Bucket": bucket, "Key": key, "ResponseContentType": content_type}
        if save_as:
            params["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(save_as, safe='')}"
        else:
            params["ResponseContentDisposition"] = "attachment" if content_type == BINARY else "inline"
        if cache_s:
            params["ResponseCacheControl"] = f"private, max-age={cache_s}"
        with translate_errors(uri):
            return self._s3.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_s)

    def info(self, uri: str) -> ObjectInfo | None:
        """Return the info of an object, None if there is none."""
        bucket, key = split(uri)
        with translate_errors(uri):
            response = none_if_missing(lambda: self._s3.head_object(Bucket=bucket, Key=key))
        return None if response is None else _info(uri, response)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects under `prefix` (`s3://bucket/folder/`)."""
        bucket, key_prefix = split(prefix)
        pages = iter(self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key_prefix))
        while True:
            with translate_errors(prefix):
                page = next(pages, None)
            if page is None:
                return
            for entry in page.get("Contents", []):
                uri = f"s3://{bucket}/{entry['Key']}"
                yield ObjectInfo(uri, entry["Size"], "", entry["ETag"], modified=entry["LastModified"])

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the folders directly under `prefix`, each `s3://bucket/folder/name/`."""
        bucket, key_prefix = split(prefix)
        paginator = self._s3.get_paginator("list_objects_v2")
        pages = iter(paginator.paginate(Bucket=bucket, Prefix=key_prefix, Delimiter="/"))
        while True:
            with translate_errors(prefix):
                page = next(pages, None)
            if page is None:
                return
            for entry in page.get("CommonPrefixes", []):
                yield f"s3://{bucket}/{entry['Prefix']}"

    def abort_uploads(self, prefix: str) -> int:
        """Abort all incomplete multipart uploads under `prefix`; return their number.

        A crashed process leaves its uploads, which are billed until they are aborted.
        """
        bucket, key_prefix = split(prefix)
        with translate_errors(prefix):
            uploads = self._s3.list_multipart_uploads(Bucket=bucket, Prefix=key_prefix).get("Uploads", [])
        for upload in uploads:
            self._multipart.abort(bucket, upload["Key"], upload["UploadId"])
        return len(uploads)

    def copy(self, source: str, target: str) -> bool:
        """Copy an object of at most 5 GB within S3. Return False if there is none."""
        (bucket, key), (source_bucket, source_key) = split(target), split(source)
        params: Any = {"Bucket": bucket, "Key": key, "CopySource": {"Bucket": source_bucket, "Key": source_key}}
        with translate_errors(source):
            return none_if_missing(lambda: self._s3.copy_object(**params)) is not None

    def delete(self, uri: str) -> None:
        """Delete an object. It may be missing."""
        bucket, key = split(uri)
        with translate_errors(uri):
            self._s3.delete_object(Bucket=bucket, Key=key)

    def check(self, prefix: str) -> None:
        """Write, read and delete an object under `prefix`."""
        uri = join(prefix, ".dailies-check")
        self.put(uri, b"check", "text/plain")
        if self.get(uri) != b"check":
            raise StorageError(f"{uri} does not return the bytes that were written.", retryable=False)
        self.delete(uri)


class _Body(io.RawIOBase):
    """The bytes of an object as a stream. A broken connection raises StorageError."""

    def __init__(self, uri: str, body: Any) -> None:
        self._uri = uri
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with translate_errors(self._uri):
            data: bytes = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


def _open_body(uri: str, response: Mapping[str, Any]) -> BinaryIO:
    return io.BufferedReader(_Body(uri, response["Body"]), _READ_BUFFER_BYTES)


def _info(uri: str, response: Mapping[str, Any]) -> ObjectInfo:
    version = response.get("VersionId", "")
    return ObjectInfo(
        uri,
        response["ContentLength"],
        response.get("ContentType", ""),
        response["ETag"],
        "" if version == "null" else version,
    )
