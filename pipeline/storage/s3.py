"""Objects on S3, named by `s3://bucket/key` URIs.

A missing object is None, not an error. All requests have timeouts. All other failures are StorageErrors.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from urllib.parse import quote

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.domain.media_types import BINARY
from pipeline.errors import StorageError
from pipeline.storage import listing
from pipeline.storage.multipart_upload import MultipartUploader, Readable, read_fully, strong_etag, type_headers
from pipeline.storage.object_body import open_body, read_decoded
from pipeline.storage.s3_errors import (
    is_conflict,
    is_html,
    is_invalid_range,
    is_precondition_failure,
    is_unsupported,
    none_if_missing,
    translate_errors,
)
from pipeline.storage.s3_responses import refuse_page

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SMALL_BYTES = 1024 * 1024
"""Maximum size of a stream that is stored with one request, from memory."""
_MAX_BUFFERED_BYTES = 64 * 1024 * 1024
_SKIP_BYTES = 64 * 1024

_CONFIG = Config(
    # Presigned URLs need this too: the default is a signature of version 2.
    signature_version="s3v4",
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=64,
    retries={"mode": "standard", "total_max_attempts": 4},
)
Checksums = Literal["when_required", "when_supported"]
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_ENDPOINT_FIX = "Write AWS_ENDPOINT_URL_S3 like https://s3.example.com."
_CHECKSUM_SETTINGS = ("request_checksum_calculation", "response_checksum_validation")


def _checksum_config(session: botocore.session.Session) -> Config:
    """Return when checksums are sent and validated, unless boto3's own settings do: some S3 servers refuse them."""
    file = session.get_scoped_config()
    unset = [name for name in _CHECKSUM_SETTINGS if name not in file and f"AWS_{name.upper()}" not in os.environ]
    options: dict[str, Any] = dict.fromkeys(unset, "when_required")
    return Config(**options)


def _check_keys() -> None:
    """Raise StorageError for a key with a line end or a blank around it: no server accepts it or its signature."""
    padded = [name for name in _KEYS if (value := os.environ.get(name, "")) != value.strip()]
    if padded:
        message = f"{' and '.join(padded)} begins or ends with a blank or a line end. Remove it."
        raise StorageError(message, retryable=False)


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
    """In quotes and strong, however the server writes it; '' if it states none."""
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

    `endpoint`: the URL of the server, None for AWS. boto3 reads region, credentials and when to send checksums; where
    `checksums` is given, it decides (`when_required`, `when_supported`). `timeout_s`: the time limit of each request,
    which is then not repeated; None: a minute, and three retries. All methods raise StorageError.
    """

    def __init__(
        self, endpoint: str | None, *, timeout_s: float | None = None, checksums: Checksums | None = None
    ) -> None:
        self._endpoint = endpoint
        self._config = _CONFIG if timeout_s is None else _CONFIG.merge(_once(timeout_s))
        if checksums:
            self._config = self._config.merge(Config(request_checksum_calculation=checksums))
        self._client: S3Client | None = None
        self._client_lock = threading.Lock()
        self._multipart = MultipartUploader(lambda: self._s3)

    @property
    def _s3(self) -> S3Client:
        """The client. It is created at its first use, because that takes a tenth of a second."""
        with self._client_lock:
            if self._client is None:
                _check_keys()
                try:
                    session = botocore.session.get_session()
                    config = _checksum_config(session).merge(self._config)
                    self._client = boto3.session.Session(botocore_session=session).client(
                        "s3", endpoint_url=self._endpoint, config=config
                    )
                    self._client.meta.events.register("before-parse.s3", refuse_page)
                except (BotoCoreError, ValueError) as error:
                    fix = _ENDPOINT_FIX if "endpoint" in str(error).lower() else "Correct the AWS_… setting."
                    raise StorageError(f"The S3 client is not configured: {error}. {fix}", retryable=False) from None
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
        """Write an object if there is none. Return False if there is one. See `put_if_match`."""
        return self.put_if_match(uri, data, content_type, None)

    def put_if_match(self, uri: str, data: bytes | BinaryIO, content_type: str, etag: str | None) -> bool:
        """Replace the object with this `etag`, None: write an object if there is none. Return False if not.

        If the server has no conditional writes, or compares other ETags than it states, the ETag is compared here,
        right before the write: of two writers at the same moment, both may write then.
        """
        start = 0 if isinstance(data, bytes) else data.tell()
        if etag != "":
            is_written = self.try_put_if(uri, data, content_type, etag)
            if is_written is not None:
                return is_written
        before = self.info(uri)
        if (before.etag if before else None) != etag:
            return False
        if not isinstance(data, bytes):
            data.seek(start)
        self.put(uri, data, content_type)
        return True

    def try_put_if(self, uri: str, data: bytes | BinaryIO, content_type: str, etag: str | None) -> bool | None:
        """Write an object with the condition of `put_if_match`, by the server alone. Return whether it was met.

        None: the server has no conditional writes, or compares `etag` with something else than it states.
        """
        bucket, key = split(uri)
        condition: Any = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with translate_errors(uri):
            try:
                self._s3.put_object(Bucket=bucket, Key=key, Body=data, **type_headers(content_type), **condition)
            except ClientError as error:
                if is_unsupported(error) or (is_precondition_failure(error) and etag):
                    return None
                if is_precondition_failure(error) or is_conflict(error):
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
        """Return the info and the first `count` bytes of the same version of an object, None if there is none.

        An object that is stored as `Content-Encoding: gzip` is decoded; the info is of the stored bytes.
        """
        response = self._get_object(uri)
        if response is None:
            return None
        with open_body(uri, response) as source:
            data = read_decoded(uri, response, source, count)
        return self._info(uri, response), data

    def read_range(self, info: ObjectInfo, start: int, count: int) -> bytes:
        """Return at most `count` bytes from `start` on of an object that exists. Raises StorageError."""
        if not start < info.size:
            return b""
        bucket, key = split(info.uri)
        with translate_errors(info.uri):
            response = self._s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{start + count - 1}")
        with open_body(info.uri, response) as source:
            if response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.OK:
                # The server has ignored the range and sends the object from its start.
                _skip(source, start)
            return source.read(count)

    def open(self, uri: str) -> BinaryIO:
        """Open an object for one read from start to end. Raises StorageError if there is none."""
        response = self._get_object(uri)
        if response is None:
            raise StorageError(f"There is no object {uri}.", retryable=False)
        return open_body(uri, response)

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
            try:
                response = none_if_missing(lambda: self._s3.head_object(Bucket=bucket, Key=key))
            except ClientError as error:
                if not is_html(error):
                    raise
                # Only a GET has a body, which separates an object that S3 lacks from a page of a proxy.
                return self._info_by_get(uri)
        return None if response is None else self._info(uri, response)

    def confirmed_info(self, uri: str) -> ObjectInfo | None:
        """Return what `info` returns. That an object is missing must be the result of a GET, too.

        Use it where work would be dropped or paid because an object is not there: a HEAD has no body, so any server or
        proxy on the way may have answered it.
        """
        return self.info(uri) or self._info_by_get(uri)

    def _info_by_get(self, uri: str) -> ObjectInfo | None:
        response = self._get_object(uri)
        if response is None:
            return None
        response["Body"].close()
        return self._info(uri, response)

    def _info(self, uri: str, response: Mapping[str, Any]) -> ObjectInfo:
        version = response.get("VersionId", "")
        return ObjectInfo(
            uri,
            response["ContentLength"] if "ContentLength" in response else self._size(uri),
            response.get("ContentType", ""),
            strong_etag(response.get("ETag", "")),
            "" if version == "null" else version,
        )

    def _size(self, uri: str) -> int:
        """Return the size in bytes of an object whose HEAD or GET has no Content-Length, by a request for one byte."""
        bucket, key = split(uri)
        with translate_errors(uri):
            try:
                response = self._s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")
            except ClientError as error:
                if is_invalid_range(error):
                    return 0
                raise
            response["Body"].close()
        total = response.get("ContentRange", "").rpartition("/")[2]
        if not total.isdecimal():
            raise StorageError(
                f"S3 does not state the size of {uri}: its response has no Content-Length and no Content-Range. If a "
                "proxy is before the server, let it pass these headers on; `dailies doctor` tests it.",
                retryable=False,
            )
        return int(total)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects under `prefix` (`s3://bucket/folder/`)."""
        bucket, key_prefix = split(prefix)
        for entry in listing.entries(self._s3, bucket, key_prefix):
            uri = f"s3://{bucket}/{entry['Key']}"
            with translate_errors(uri):
                etag = strong_etag(entry.get("ETag", ""))
                info = ObjectInfo(uri, entry["Size"], "", etag, modified=entry.get("LastModified"))
            yield info

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


def _skip(source: BinaryIO, count: int) -> None:
    while count > 0 and (piece := source.read(min(count, _SKIP_BYTES))):
        count -= len(piece)
