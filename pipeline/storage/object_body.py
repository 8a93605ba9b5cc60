"""The bytes of an object as a stream: broken connections raise StorageError, gzip is decoded."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Mapping
from typing import Any

from pipeline.errors import StorageError
from pipeline.storage.s3_errors import translate_errors

_READ_BUFFER_BYTES = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_PLAIN = {"", "identity", "aws-chunked"}
"""Encodings that are none: some servers store that a client sent the object in chunks."""


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


def open_body(uri: str, response: Mapping[str, Any]) -> io.BufferedReader:
    """Return the bytes of a GetObject response as they are stored."""
    return io.BufferedReader(_Body(uri, response["Body"]), _READ_BUFFER_BYTES)


def read_decoded(uri: str, response: Mapping[str, Any], source: io.BufferedReader, count: int) -> bytes:
    """Return at most `count` bytes of the object, decoded if it is stored as `Content-Encoding: gzip`.

    Raises StorageError if the encoding is another one, or the bytes are damaged.
    """
    stored = {name.strip().lower() for name in str(response.get("ContentEncoding") or "").split(",")} - _PLAIN
    # A server that decodes an object itself may keep the header.
    if not stored or (stored == {"gzip"} and source.peek(2)[:2] != _GZIP_MAGIC):
        return source.read(count)
    if stored != {"gzip"}:
        names = ", ".join(sorted(stored))
        message = f"{uri} is stored with Content-Encoding: {names}. Upload it without an encoding, or with gzip."
        raise StorageError(message, retryable=False)
    try:
        # Never more than `count` bytes are decoded, however many the object has.
        with gzip.GzipFile(fileobj=source) as decoded:
            return decoded.read(count)
    except (OSError, EOFError, zlib.error) as error:
        message = f"{uri} is stored with Content-Encoding: gzip, but is damaged: {error}. Upload it again."
        raise StorageError(message, retryable=False) from None
