"""Images on S3 as files for the vendor: streamed, never whole in memory."""

from __future__ import annotations

from pathlib import PurePosixPath

from pipeline.errors import StorageError
from pipeline.storage.s3 import Storage
from pipeline.wiro.client import FileSource


def stored_image(storage: Storage, uri: str) -> FileSource:
    """Return the object at `uri` as a file to upload. Raises StorageError if it is missing or empty."""
    info = storage.info(uri)
    if info is None:
        raise StorageError(f"There is no image at {uri}.", retryable=False)
    if info.size == 0:
        raise StorageError(f"The image at {uri} is empty.", retryable=False)
    return FileSource(
        name=PurePosixPath(uri).name, content_type=info.content_type, size=info.size, open=lambda: storage.open(uri)
    )
