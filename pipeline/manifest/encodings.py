"""The encoding of a table of rows, as spreadsheets export them. Pure."""

from __future__ import annotations

import codecs
import re

_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32_ASCII = re.compile(rb"(?:[^\0]\0\0\0){2}|(?:\0\0\0[^\0]){2}")
_SAMPLE = 4096
_MULTIBYTE = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]")
_NOT_WESTERN = re.compile(rb"[\x80-\xff]{4}")
"""Languages that are written in Windows-1252 have no four such letters in a row."""
_MAC = re.compile(rb"[a-z][\x80\x86-\x8a\x8c\x8e\x9f][a-z]")
"""ü, ä and others of old programs for the Mac, as capitals and signs within words of Windows-1252."""
WINDOWS = "cp1252"


class UnknownEncoding(ValueError):
    """The encoding cannot be detected. `offset`: the first byte that is not UTF-8."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def detect_encoding(data: bytes) -> str:
    """Return the name of Python's codec for a text: UTF-8, UTF-16 or UTF-32 with or without a byte order mark, or
    Windows-1252.

    Raises UnknownEncoding rather than guess: wrong letters in a prompt are paid for.
    """
    if codec := wide_encoding(data):
        return _checked(data, codec)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _windows(data, error.start)
    return "utf-8-sig"


def wide_encoding(data: bytes) -> str:
    """Return the codec of UTF-16 or UTF-32, '' for other texts. Each of their ASCII characters has zero bytes."""
    if data.startswith(_UTF_32):
        return "utf-32"
    if _UTF_32_ASCII.match(data):
        return "utf-32-le" if data[0] else "utf-32-be"
    if data.startswith(_UTF_16):
        return "utf-16"
    sample = data[:_SAMPLE]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    # A text has commas and line ends at least; zero bytes for other reasons are few, or at both places.
    if max(even, odd) * 16 < len(sample) or max(even, odd) < 2 or min(even, odd):
        return ""
    return "utf-16-be" if even else "utf-16-le" if odd else ""


def _checked(data: bytes, codec: str) -> str:
    try:
        data.decode(codec)
    except UnicodeDecodeError as error:
        name = codec[:6].upper()
        raise UnknownEncoding(0, f"byte {error.start:,} is not {name}: save the file as UTF-8") from None
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
        is_windows = not (_NOT_WESTERN.search(data) or _MAC.search(data))
    if not is_windows:
        raise UnknownEncoding(offset, f"byte {offset:,} is not UTF-8, nor Windows-1252: save the file as UTF-8")
    return WINDOWS
