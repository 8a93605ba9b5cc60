"""S3: the bucket, and what the service needs of it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

from pipeline.doctor import Finding, note, ok, wrong
from pipeline.errors import StorageError
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage, join


def bucket(settings: Settings) -> Iterator[Finding]:
    """Whether objects can be written, read, kept from being overwritten, and deleted."""
    output = settings.output
    if output is None:
        yield note(
            "S3", "No default output: every manifest must name its own.", "Set PIPELINE_OUTPUT=s3://bucket/prefix/."
        )
        return
    where = settings.s3_endpoint or "AWS"
    storage = Storage(settings.s3_endpoint)
    try:
        storage.check(output)
        yield ok("S3", f"{output} at {where}: written, read, deleted")
        yield _condition(storage, join(output, f".dailies-check-{uuid4().hex}"))
    except StorageError as error:
        yield wrong("S3", f"{output} at {where}: {error}")


def _condition(storage: Storage, uri: str) -> Finding:
    what = "S3 conditions"
    try:
        first = storage.put_if_absent(uri, b"1", "text/plain")
        second = storage.put_if_absent(uri, b"2", "text/plain")
    except StorageError as error:
        return wrong(what, f"A conditional put fails: {error}", "The server must know If-None-Match.")
    finally:
        storage.delete(uri)
    if first and not second:
        return ok(what, "a conditional put is honoured")
    return wrong(
        what,
        "If-None-Match is not honoured: two workers may both write results.json.",
        "Use a server that knows conditional writes: AWS S3, SeaweedFS, MinIO.",
    )
