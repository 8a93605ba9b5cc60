"""An object in ranges: while the reader waits no connection to S3 is open, and a broken one costs one range."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pipeline.errors import StorageError
from pipeline.storage.s3 import ObjectInfo, Storage

CHUNK_BYTES = 4 * 1024 * 1024
_FIRST_BYTES = 64 * 1024
"""The first range: readers of one line need no more. Each range is twice as long as the one before."""
_ATTEMPTS = 3
_BACKOFF_S = 0.5


def chunks(storage: Storage, uri: str, size: int, *, start: int = 0) -> Iterator[bytes]:
    """Yield the bytes of an object of `size` bytes from `start` on, at most CHUNK_BYTES at a time.

    Raises StorageError if the object is missing or shorter, or if S3 fails three times in a row.
    """
    info, length = ObjectInfo(uri, size, "", ""), _FIRST_BYTES
    while start < size:
        chunk = _read(storage, info, start, min(length, size - start))
        if not chunk:
            raise StorageError(f"{uri} has {start:,} bytes, not {size:,}.", retryable=False)
        start += len(chunk)
        length = min(2 * length, CHUNK_BYTES)
        yield chunk


def _read(storage: Storage, info: ObjectInfo, start: int, length: int) -> bytes:
    for attempt in range(1, _ATTEMPTS):
        try:
            return storage.read_range(info, start, length)
        except StorageError as error:
            if not error.retryable:
                raise
        time.sleep(_BACKOFF_S * 2**attempt)
    return storage.read_range(info, start, length)
