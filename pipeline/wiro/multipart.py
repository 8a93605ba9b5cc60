"""Request bodies: JSON and multipart forms. Large files are streamed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from pipeline.errors import StorageError

_MAX_BUFFERED_BYTES = 1_000_000
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class FileSource:
    """A file to send. Each call of `open` returns a stream of its `size` bytes."""

    name: str
    content_type: str
    size: int
    open: Callable[[], BinaryIO]


@dataclass(frozen=True)
class Body:
    """A request body: `head`, then the file, then `tail`."""

    content_type: str
    head: bytes
    file: FileSource | None = None
    tail: bytes = b""

    @property
    def length(self) -> int:
        """Total bytes."""
        return len(self.head) + (self.file.size if self.file else 0) + len(self.tail)

    @contextmanager
    def opened(self) -> Iterator[bytes | Iterator[bytes]]:
        """Open the body: as bytes if it is small, else as an iterator of bytes. The file opens before anything is sent.

        Raises StorageError, also from the iterator: the request is then incomplete and the vendor rejects it.
        """
        if self.file is None:
            yield self.head
            return
        stream = self.file.open()
        try:
            pieces = self._pieces(self.file, stream)
            yield b"".join(pieces) if self.file.size <= _MAX_BUFFERED_BYTES else pieces
        finally:
            # The bytes were sent, or the request has failed: an error on closing must not hide which of the two.
            with suppress(Exception):
                stream.close()

    def _pieces(self, file: FileSource, stream: BinaryIO) -> Iterator[bytes]:
        yield self.head
        left = file.size
        while left > 0 and (piece := stream.read(min(_PIECE_BYTES, left))):
            left -= len(piece)
            yield piece
        if left or stream.read(1):
            raise StorageError(
                f"{file.name} has changed: its size is not {file.size:,} bytes any more.", retryable=True
            )
        yield self.tail


def json_body(fields: Mapping[str, Any]) -> Body:
    """Return the fields as a JSON object."""
    return Body("application/json", json.dumps(fields, default=str, separators=(",", ":")).encode())


def form_body(fields: Mapping[str, Any], file_field: str | None = None, file: FileSource | None = None) -> Body:
    """Return the fields as a multipart form, with the file last. Values that are not text become text or JSON."""
    boundary = secrets.token_hex(16)
    head = "".join(f"--{boundary}\r\n{_disposition(name)}\r\n\r\n{_text(value)}\r\n" for name, value in fields.items())
    end = f"--{boundary}--\r\n"
    content_type = f"multipart/form-data; boundary={boundary}"
    if file is None or file_field is None:
        return Body(content_type, (head + end).encode("utf-8", "replace"))
    kind = _quoted(file.content_type) or "application/octet-stream"
    head += (
        f'--{boundary}\r\n{_disposition(file_field)}; filename="{_quoted(file.name)}"\r\nContent-Type: {kind}\r\n\r\n'
    )
    return Body(content_type, head.encode("utf-8", "replace"), file, f"\r\n{end}".encode())


def _disposition(name: str) -> str:
    return f'Content-Disposition: form-data; name="{_quoted(name)}"'


def _quoted(name: str) -> str:
    """Escape a name for quotes, as browsers do."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
