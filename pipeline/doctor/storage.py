"""S3: every operation that the service needs, tried for real below the default output. What is written is deleted."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import get_args
from urllib.parse import urlsplit
from uuid import uuid4

from pipeline.doctor.findings import Finding, note, ok, wrong
from pipeline.errors import StorageError
from pipeline.settings import Settings
from pipeline.storage.s3 import SMALL_BYTES, Checksums, Storage, join, split
from pipeline.storage.s3_errors import CHECKSUM_SETTING

_DATA = b"check"
_OTHER_ETAG = '"00000000000000000000000000000000"'
_DENIED = re.compile(r": (AccessDenied|HTTP 403):")
_PARTS, _COPY = "-parts", "-copy"
_COPES = "The service compares before it writes, and one worker at a time writes results.json (a lease in Redis)"


def check_bucket(settings: Settings) -> Iterator[Finding]:
    """Check the bucket, the keys and the server of the default output."""
    output = settings.output
    if output is None:
        message = "There is no default output, so each manifest must have one."
        yield note("S3", message, "Set PIPELINE_OUTPUT=s3://bucket/prefix/.")
        return
    storage = Storage(settings.s3_endpoint)
    uri = join(output, f".dailies-check-{uuid4().hex}")
    place = f"{output} at {settings.s3_endpoint or 'AWS'}"
    problem = _check_write(settings.s3_endpoint, storage, uri, place)
    if problem:
        yield problem
        return
    findings = list(_check_operations(settings.s3_endpoint, storage, uri))
    left = _delete(storage, uri)
    yield left or ok("S3", f"{place}: write, read and delete work")
    yield from findings


def _check_write(endpoint: str | None, storage: Storage, uri: str, place: str) -> Finding | None:
    """Return what is wrong with a write of the object at `uri` and a read of it; None if both work."""
    try:
        storage.put(uri, _DATA, "text/plain")
    except StorageError as error:
        return wrong("S3", f"{place}: a write failed. {error}", _write_fix(endpoint, storage, uri, error))
    try:
        is_same = storage.get(uri) == _DATA
    except StorageError as error:
        _delete(storage, uri)
        return wrong("S3", f"{place}: a write worked, and a read failed. {error}", "Allow s3:GetObject below it.")
    if is_same:
        return None
    message = "the object that was just written is read with other bytes, or not found"
    fix = "Check AWS_ENDPOINT_URL_S3: something else may answer there. A cache must not be between the service and S3."
    return wrong("S3", f"{place}: {message}.", fix)


def _write_fix(endpoint: str | None, storage: Storage, uri: str, error: StorageError) -> str:
    """Return what to do about a write that failed. A listing shows whether only writes are refused."""
    if error.retryable or "kms:" in str(error):
        return ""
    if not _DENIED.search(str(error)):
        return _checksum_fix(endpoint, uri)
    try:
        next(storage.list(uri), None)
    except StorageError:
        return (
            "Listing is refused, too: the bucket may be of another account. Correct PIPELINE_OUTPUT or the AWS_… "
            "credentials, or allow what docs/deploy.md lists."
        )
    return "Listing works: the bucket is read-only for these credentials. Allow s3:PutObject and s3:DeleteObject."


def _checksum_fix(endpoint: str | None, uri: str) -> str:
    """Return the setting for checksums with which a write works; '' if there is none."""
    for checksums in get_args(Checksums):
        storage = Storage(endpoint, checksums=checksums)
        try:
            storage.put(uri, _DATA, "text/plain")
        except StorageError:
            continue
        _delete(storage, uri)
        return f"Set {CHECKSUM_SETTING}={checksums} for all processes: then the same write works."
    return ""


def _check_operations(endpoint: str | None, storage: Storage, uri: str) -> Iterator[Finding]:
    """Check what else the service needs, with the object at `uri`."""
    misplaced = _check_endpoint(endpoint, uri)
    if misplaced:
        yield misplaced
        return
    yield _check_listing(storage, uri)
    yield from _check_missing(storage, uri)
    yield from _check_size(storage, uri)
    yield from _check_conditions(storage, uri)
    yield from _check_parts(storage, uri + _PARTS)
    yield from _check_copy(storage, uri)


def _check_endpoint(endpoint: str | None, uri: str) -> Finding | None:
    """Return a problem if the address of the server holds the bucket, which boto3 adds to it once more."""
    bucket, key = split(uri)
    corrected = without_bucket(endpoint, bucket)
    if corrected is None:
        return None
    try:
        is_misplaced = Storage(corrected).get(f"s3://{bucket}/{bucket}/{key}") == _DATA
    except StorageError:
        return None
    if not is_misplaced:
        return None
    message = f"{endpoint} holds the bucket: objects are written to {bucket}/{bucket}/, and no listing works."
    return wrong("S3 endpoint", message, f"Set AWS_ENDPOINT_URL_S3={corrected}.")


def without_bucket(endpoint: str | None, bucket: str) -> str | None:
    """Return `endpoint` without the bucket in its path or before its host; None if it has none."""
    if endpoint is None:
        return None
    parts = urlsplit(endpoint)
    if parts.path.rstrip("/").endswith(f"/{bucket}"):
        return parts._replace(path=parts.path.rstrip("/").removesuffix(f"/{bucket}")).geturl()
    if parts.netloc.startswith(f"{bucket}."):
        return parts._replace(netloc=parts.netloc.removeprefix(f"{bucket}.")).geturl()
    return None


def _check_listing(storage: Storage, uri: str) -> Finding:
    subject, needs = "S3 listing", "`recover`, `pull` and triggers by listing do not work"
    try:
        names = {info.uri for info in storage.list(uri)}
    except StorageError as error:
        return wrong(subject, f"{error} Without it {needs}.", "Allow s3:ListBucket on the bucket.")
    if uri not in names:
        message = f"The listing lacks an object that was just written: {needs}, and `submit` may miss a batch on S3."
        return wrong(subject, message, "Use a server whose listings are consistent, without a cache before it.")
    return ok(subject, "objects are listed")


def _check_missing(storage: Storage, uri: str) -> Iterator[Finding]:
    try:
        is_there = storage.confirmed_info(f"{uri}-none") is not None
    except StorageError as error:
        message = f"An object that does not exist is not reported as missing: no batch can be submitted. {error}"
        yield wrong("S3 missing objects", message, "Allow s3:ListBucket on the bucket: then S3 answers 404, not 403.")
        return
    if is_there:
        message = "The server reports an object that was never written."
        yield wrong("S3 missing objects", message, "Check AWS_ENDPOINT_URL_S3: something else answers there.")


def _check_size(storage: Storage, uri: str) -> Iterator[Finding]:
    try:
        info = storage.info(uri)
    except StorageError as error:
        yield wrong("S3 sizes", f"{error} Images on S3 cannot be used.")
        return
    if info is None or info.size != len(_DATA):
        found = "is missing" if info is None else f"has {info.size:,} bytes"
        yield wrong("S3 sizes", f"An object of {len(_DATA)} bytes {found} in a HEAD. Images on S3 cannot be used.")


def _check_conditions(storage: Storage, uri: str) -> Iterator[Finding]:
    """Check If-None-Match and If-Match. The service works without them, so a missing one is a note."""
    subject = "S3 conditions"
    try:
        info = storage.info(uri)
        absent = storage.try_put_if(uri, _DATA, "text/plain", None)
        other = storage.try_put_if(uri, _DATA, "text/plain", _OTHER_ETAG)
        same = storage.try_put_if(uri, _DATA, "text/plain", info.etag if info else "")
    except StorageError as error:
        yield wrong(subject, f"A conditional write failed: {error} No batch can be submitted.")
        return
    weak = []
    if absent is not False:
        weak.append(f"{'ignores' if absent else 'does not support'} If-None-Match")
    if other or not same:
        weak.append(f"{'ignores' if other else 'does not support'} If-Match")
    if not weak:
        yield ok(subject, "conditional writes work")
        return
    message = f"The server {' and '.join(weak)}. {_COPES}; of two writers of a status file at one moment, one may win."
    yield note(subject, message)


def _check_parts(storage: Storage, uri: str) -> Iterator[Finding]:
    subject = "S3 uploads"
    try:
        storage.put_stream(uri, io.BytesIO(bytes(SMALL_BYTES + 1)), "application/octet-stream")
    except StorageError as error:
        message = f"A multipart upload failed, so outputs above {SMALL_BYTES // 2**20} MiB are not stored. {error}"
        yield wrong(subject, message, "Use a server with multipart uploads, and allow s3:PutObject.")
        return
    try:
        storage.abort_uploads(uri)
    except StorageError as error:
        message = f"Uploads that a crash leaves are not removed, and may be billed. {error}"
        yield note(subject, message, "Allow s3:ListBucketMultipartUploads, or set a lifecycle rule of the bucket.")
    else:
        yield ok(subject, "multipart uploads work")


def _check_copy(storage: Storage, uri: str) -> Iterator[Finding]:
    try:
        is_copied = storage.copy(uri, uri + _COPY)
    except StorageError as error:
        yield wrong("S3 copies", f"A copy within S3 failed: images that were uploaded cannot be submitted. {error}")
        return
    if not is_copied:
        yield wrong("S3 copies", "An object that was just written cannot be copied: the server reports it as missing.")


def _delete(storage: Storage, uri: str) -> Finding | None:
    """Delete what the checks have written. Return a note if something is left: only the checks delete objects."""
    for name in (uri, uri + _PARTS, uri + _COPY):
        try:
            storage.delete(name)
        except StorageError as error:
            return note("S3", f"Write and read work, but {uri}… cannot be deleted. {error}", "Delete it by hand.")
    return None
