"""The encoding of a table of rows, as spreadsheets export them. Pure."""

from __future__ import annotations

import codecs
import re

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MULTIBYTE = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]")
_NOT_WESTERN = re.compile(rb"[\x80-\xff]{4}")
"""Languages that are written in Windows-1252 have no four such letters in a row."""
WINDOWS = "cp1252"


class UnknownEncoding(ValueError):
    """The encoding cannot be told. `offset`: the first byte that is not UTF-8."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def detect_encoding(data: bytes) -> str:
    """Return the name of Python's codec for a text: UTF-8 or UTF-16 with or without a byte order mark, Windows-1252.

    Raises UnknownEncoding rather than guess: wrong letters in a prompt are paid for.
    """
    if data.startswith(_UTF_16) or b"\0" in data[:2]:
        return _utf_16(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _windows(data, error.start)
    return "utf-8-sig"


def _utf_16(data: bytes) -> str:
    codec = "utf-16" if data.startswith(_UTF_16) else "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    try:
        data.decode(codec)
    except UnicodeDecodeError as error:
        raise UnknownEncoding(0, f"byte {error.start:,} is not UTF-16: save the file as UTF-8") from None
    return codec


def _windows(data: bytes, offset: int) -> str:
    valid = sum(1 for _ in _MULTIBYTE.finditer(data))
    if valid and valid >= len(_HIGH.findall(_MULTIBYTE.sub(b"", data))):
        raise UnknownEncoding(offset, f"byte {offset:,} is not UTF-8, as the rest is: save the file as UTF-8")
    try:
        data.decode(WINDOWS)
    except UnicodeDecodeError:
        is_windows = False
    else:
        is_windows = _NOT_WESTERN.search(data) is None
    if not is_windows:
        raise UnknownEncoding(offset, f"byte {offset:,} is not UTF-8, nor Windows-1252: save the file as UTF-8")
    return WINDOWS
