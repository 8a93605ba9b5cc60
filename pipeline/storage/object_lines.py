"""The lines of a large object, with their positions. Little of it is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.errors import StorageError
from pipeline.storage.object_chunks import chunks
from pipeline.storage.s3 import Storage

MAX_LINE_BYTES = 8 * 1024 * 1024


def lines(storage: Storage, uri: str, *, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (position in bytes, line without its end) of an object, from position `start` on.

    Raises StorageError if there is no object, if a line exceeds MAX_LINE_BYTES, or if S3 fails.
    """
    info = storage.info(uri)
    if info is None:
        raise StorageError(f"There is no object {uri}.", retryable=False)
    position, rest = start, b""
    for chunk in chunks(storage, uri, info.size, start=start):
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            yield position, line
            position += len(line) + 1
        if len(rest) > MAX_LINE_BYTES:
            raise StorageError(f"{uri}: The line at byte {position:,} is too long.", retryable=False)
    if rest:
        yield position, rest
