"""All of S3: the only module that speaks it.

Objects are named by `s3://bucket/key` URIs. A missing object is no error: it is None. Everything has time limits;
what fails comes out as StorageError, which says whether the same call may succeed later.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from pipeline.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART_BYTES = 5 * 1024 * 1024
SMALL_BYTES = 1024 * 1024
"""Up to this size a stream is put in one request from memory."""
_MAX_CONCURRENT_LARGE_UPLOADS = 2
_MAX_CONCURRENT_PARTS = 4
"""So many parts of PART_BYTES are in memory for sending; each large stream holds one more that it reads."""
_MAX_BUFFERED_BYTES = 64 * 1024 * 1024

_CONFIG = Config(
    # Presigned URLs too: without it they are signed as in 2006.
    signature_version="s3v4",
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=64,
    retries={"mode": "standard", "total_max_attempts": 4},
    # Servers that speak S3 do not all know the newer default checksums.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchBucket", "NoSuchUpload"}
_LATER = {
    "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "RequestTimeTooSkewed", "OperationAborted",
    "ThrottlingException", "Throttling", "500", "502", "503", "504",
}  # fmt: skip


T = TypeVar("T")


class Readable(Protocol):
    """What is read from start to end."""

    def read(self, amount: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class ObjectInfo:
    """One object. `size` is in bytes. A listing tells no content type ('') and no version, only it tells the time."""

    uri: str
    size: int
    content_type: str
    etag: str
    version: str = ""
    """Its version id; '' in a bucket without versions."""
    modified: datetime | None = None


def split(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` as (bucket, key). Raises StorageError for anything else."""
    bucket, slash, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not slash:
        raise StorageError(f"{uri!r} is not an s3://bucket/key address.", retryable=False)
    return bucket, key


def join(prefix: str, *parts: str) -> str:
    """A URI under `prefix`, which ends with a slash, as do all `parts` but the last."""
    return prefix + "".join(parts)


class Storage:
    """An S3 server. `endpoint` None is AWS, found as boto3 finds it. Thread-safe, connections are reused."""

    def __init__(self, endpoint: str | None) -> None:
        self._endpoint = endpoint
        self._client: S3Client | None = None
        self._making = threading.Lock()
        self._large = threading.BoundedSemaphore(_MAX_CONCURRENT_LARGE_UPLOADS)
        self._parts_on_their_way = threading.BoundedSemaphore(_MAX_CONCURRENT_PARTS)

    @property
    def _s3(self) -> S3Client:
        """The client, made at its first use: making one takes a tenth of a second."""
        with self._making:
            if self._client is None:
                try:
                    self._client = boto3.session.Session().client("s3", endpoint_url=self._endpoint, config=_CONFIG)
                except (BotoCoreError, ValueError) as error:
                    raise StorageError(f"S3 cannot be used: {error}", retryable=False) from None
            return self._client

    def warm(self) -> None:
        """Make the client now, not with the first request. Raises StorageError when the settings are no good."""
        _ = self._s3

    def put(self, uri: str, data: bytes | bytearray, content_type: str) -> None:
        """Write one small object."""
        bucket, key = split(uri)
        body: Any = data
        _asked(uri, lambda: self._s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type))

    def put_if_absent(self, uri: str, data: bytes, content_type: str) -> bool:
        """Write an object unless there is one. False when there is."""
        return self._put_if(uri, io.BytesIO(data), content_type, IfNoneMatch="*")

    def put_file(self, uri: str, file: BinaryIO, content_type: str) -> None:
        """Write the whole of an open file in one request."""
        bucket, key = split(uri)
        _asked(uri, lambda: self._s3.put_object(Bucket=bucket, Key=key, Body=file, ContentType=content_type))

    def put_if_match(self, uri: str, file: BinaryIO, content_type: str, etag: str | None) -> bool:
        """Write a file where the object is still the one with `etag`, None: where there is none. False when not."""
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        return self._put_if(uri, file, content_type, **condition)

    def _put_if(self, uri: str, file: BinaryIO, content_type: str, **condition: Any) -> bool:
        bucket, key = split(uri)

        def put() -> bool:
            try:
                self._s3.put_object(Bucket=bucket, Key=key, Body=file, ContentType=content_type, **condition)
            except ClientError as error:
                if _code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                    return False
                raise
            return True

        return _asked(uri, put)

    def put_stream(self, uri: str, source: Readable, content_type: str) -> int:
        """Copy `source` to an object, never whole in memory. Answers its size in bytes.

        An object appears only when all of `source` was read; what it raises is passed on.
        """
        first = _read_fully(source, SMALL_BYTES + 1)
        if len(first) <= SMALL_BYTES:
            self.put(uri, first, content_type)
            return len(first)
        with self._large:
            return self._put_parts(uri, first, source, content_type)

    def _put_parts(self, uri: str, first: bytearray, source: Readable, content_type: str) -> int:
        bucket, key = split(uri)
        upload = _asked(
            uri, lambda: self._s3.create_multipart_upload(Bucket=bucket, Key=key, ContentType=content_type)
        )["UploadId"]
        parts: list[Future[Any]] = []
        total = 0
        chunk = _read_fully(source, PART_BYTES, first)
        try:
            while chunk:
                parts.append(self._begin_part(uri, upload, len(parts) + 1, chunk))
                total += len(chunk)
                chunk = _read_fully(source, PART_BYTES)
            done = [part.result() for part in parts]
            _asked(
                uri,
                lambda: self._s3.complete_multipart_upload(
                    Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}
                ),
            )
        except BaseException:
            # A part that arrives after its upload was aborted would stay, and cost, for ever.
            wait(parts)
            with suppress(StorageError):
                self._abort(bucket, key, upload)
            raise
        return total

    def _begin_part(self, uri: str, upload: str, number: int, data: bytearray) -> Future[Any]:
        """Send a part while the next one is read; waits while as many are on their way as memory is meant for."""
        self._parts_on_their_way.acquire()
        try:
            part = _senders().submit(self._put_part, uri, upload, number, data)
        except BaseException:
            self._parts_on_their_way.release()
            raise
        part.add_done_callback(lambda _: self._parts_on_their_way.release())
        return part

    def _put_part(self, uri: str, upload: str, number: int, data: Any) -> dict[str, Any]:
        bucket, key = split(uri)
        answer = _asked(
            uri,
            lambda: self._s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data),
        )
        return {"ETag": answer["ETag"], "PartNumber": number}

    def get(self, uri: str, *, max_bytes: int = _MAX_BUFFERED_BYTES) -> bytes | None:
        """The object, None when there is none. Raises StorageError when it is larger than `most_bytes`."""
        source = self._open(uri)
        if source is None:
            return None
        with source:
            data = source.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise StorageError(f"{uri} is larger than {max_bytes:,} bytes.", retryable=False)
        return data

    def head(self, uri: str, count: int) -> bytes | None:
        """The first `count` bytes of an object, None when there is none."""
        source = self._open(uri)
        if source is None:
            return None
        with source:
            return source.read(count)

    def get_with_info(self, uri: str, count: int) -> tuple[ObjectInfo, bytes] | None:
        """What is known of an object and its first `count` bytes, both of the same version; None: there is none."""
        bucket, key = split(uri)
        answer = _asked(uri, lambda: _unless_missing(lambda: self._s3.get_object(Bucket=bucket, Key=key)))
        if answer is None:
            return None
        with io.BufferedReader(_Body(uri, answer["Body"]), 64 * 1024) as source:
            return _info(uri, answer), source.read(count)

    def open(self, uri: str) -> BinaryIO:
        """An object to be read from start to end and closed. Raises StorageError when there is none."""
        source = self._open(uri)
        if source is None:
            raise StorageError(f"There is no object {uri}.", retryable=False)
        return source

    def _open(self, uri: str) -> BinaryIO | None:
        bucket, key = split(uri)
        answer = _asked(uri, lambda: _unless_missing(lambda: self._s3.get_object(Bucket=bucket, Key=key)))
        return None if answer is None else io.BufferedReader(_Body(uri, answer["Body"]), 64 * 1024)

    def presign(self, uri: str, *, lasts_s: int, save_as: str | None = None) -> str:
        """A URL that anybody may GET the object with for `lasts_s`. `save_as`: the file that a browser saves it as."""
        bucket, key = split(uri)
        asked = {"Bucket": bucket, "Key": key}
        if save_as:
            asked["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(save_as, safe='')}"
        return _asked(uri, lambda: self._s3.generate_presigned_url("get_object", Params=asked, ExpiresIn=lasts_s))

    def info(self, uri: str) -> ObjectInfo | None:
        """What is known of an object, None when there is none."""
        bucket, key = split(uri)
        answer = _asked(uri, lambda: _unless_missing(lambda: self._s3.head_object(Bucket=bucket, Key=key)))
        if answer is None:
            return None
        return _info(uri, answer)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object under `prefix` (`s3://bucket/folder/`). The content type is not told ('')."""
        bucket, start = split(prefix)
        pages = iter(self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start))
        while (page := _asked(prefix, lambda: next(pages, None))) is not None:
            for entry in page.get("Contents", []):
                uri = f"s3://{bucket}/{entry['Key']}"
                yield ObjectInfo(uri, entry["Size"], "", entry["ETag"], modified=entry["LastModified"])

    def abort_uploads(self, prefix: str) -> int:
        """Abort every upload in parts under `prefix` that was begun and never completed. Answers how many.

        Those of writers that died, or could not abort theirs, would stay and cost for ever.
        """
        bucket, start = split(prefix)
        found = _asked(prefix, lambda: self._s3.list_multipart_uploads(Bucket=bucket, Prefix=start)).get("Uploads", [])
        for upload in found:
            self._abort(bucket, upload["Key"], upload["UploadId"])
        return len(found)

    def _abort(self, bucket: str, key: str, upload: str) -> None:
        def abort() -> object:
            return self._s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

        _asked(f"s3://{bucket}/{key}", lambda: _unless_missing(abort))

    def copy(self, source: str, target: str) -> bool:
        """Copy an object of at most 5 GB, within S3. False when there is none."""
        (bucket, key), (from_bucket, from_key) = split(target), split(source)
        asked: Any = {"Bucket": bucket, "Key": key, "CopySource": {"Bucket": from_bucket, "Key": from_key}}
        answer = _asked(source, lambda: _unless_missing(lambda: self._s3.copy_object(**asked)))
        return answer is not None

    def delete(self, uri: str) -> None:
        """Delete an object; there may be none."""
        bucket, key = split(uri)
        _asked(uri, lambda: self._s3.delete_object(Bucket=bucket, Key=key))

    def check(self, prefix: str) -> None:
        """Write, read and delete an object under `prefix`. Raises StorageError."""
        uri = join(prefix, ".dailies-check")
        self.put(uri, b"check", "text/plain")
        if self.get(uri) != b"check":
            raise StorageError(f"{uri} does not read back as it was written.", retryable=False)
        self.delete(uri)


@lru_cache(maxsize=1)
def _senders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MAX_CONCURRENT_PARTS, thread_name_prefix="parts")


class _Body(io.RawIOBase):
    """An object's bytes as they come; a cut connection is a StorageError, not an end."""

    def __init__(self, uri: str, body: Any) -> None:
        self._uri = uri
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data: bytes = _asked(self._uri, lambda: self._body.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


def _info(uri: str, answer: Mapping[str, Any]) -> ObjectInfo:
    version = answer.get("VersionId", "")
    return ObjectInfo(
        uri,
        answer["ContentLength"],
        answer.get("ContentType", ""),
        answer["ETag"],
        "" if version == "null" else version,
    )


def _asked(uri: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except ClientError as error:
        raise _client_error(uri, error) from None
    except BotoConnectionError as error:
        raise StorageError(f"S3 does not answer for {uri}: {error}", retryable=True) from None
    except BotoCoreError as error:
        raise StorageError(f"S3 failed for {uri}: {error}", retryable=_may_pass(error)) from None


def _may_pass(error: BotoCoreError) -> bool:
    return "Timeout" in type(error).__name__ or "HTTP" in type(error).__name__ or "Response" in type(error).__name__


def _client_error(uri: str, error: ClientError) -> StorageError:
    code = _code(error)
    message = error.response.get("Error", {}).get("Message") or "no message"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    advice = ""
    if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        advice = " Check the AWS_… credentials and the bucket's policy; `dailies doctor` tries them."
    elif code == "NoSuchBucket":
        advice = " Create the bucket, or correct the address."
    return StorageError(f"S3 refused {uri}: {code}: {message}.{advice}", retryable=code in _LATER or int(status) >= 500)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _unless_missing(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except ClientError as error:
        if _code(error) in _MISSING and _code(error) != "NoSuchBucket":
            return None
        raise


def _read_fully(source: Readable, count: int, first: bytes | bytearray = b"") -> bytearray:
    """`first` and what follows it, `count` bytes in all, less at the end. One buffer: nothing is there twice."""
    data = bytearray(first)
    while len(data) < count and (piece := source.read(count - len(data))):
        data += piece
    return data
