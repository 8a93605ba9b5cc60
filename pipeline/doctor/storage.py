"""S3: the bucket and the rights that the service needs."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

from pipeline.doctor.findings import Finding, note, ok, wrong
from pipeline.errors import StorageError
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage, join


def check_bucket(settings: Settings) -> Iterator[Finding]:
    """Check that objects can be written, read, written conditionally and deleted."""
    output = settings.output
    if output is None:
        message = "There is no default output, so each manifest must have one."
        yield note("S3", message, "Set PIPELINE_OUTPUT=s3://bucket/prefix/.")
        return
    place = f"{output} at {settings.s3_endpoint or 'AWS'}"
    storage = Storage(settings.s3_endpoint)
    try:
        storage.check(output)
        yield ok("S3", f"{place}: write, read and delete work")
        yield _check_conditional_write(storage, join(output, f".dailies-check-{uuid4().hex}"))
    except StorageError as error:
        yield wrong("S3", f"{place}: {error}")


def _check_conditional_write(storage: Storage, uri: str) -> Finding:
    subject = "S3 conditions"
    try:
        first = storage.put_if_absent(uri, b"1", "text/plain")
        second = storage.put_if_absent(uri, b"2", "text/plain")
    except StorageError as error:
        return wrong(subject, f"A conditional write failed: {error}", "Use a server that supports If-None-Match.")
    finally:
        storage.delete(uri)
    if first and not second:
        return ok(subject, "conditional writes work")
    return wrong(
        subject,
        "The server ignores If-None-Match: two workers could both write results.json.",
        "Use a server with conditional writes: AWS S3, SeaweedFS or MinIO.",
    )
