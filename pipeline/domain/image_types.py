"""The image formats that the service accepts, judged by the bytes of a file: a name proves nothing.

Pure: only `sniff_file` reads, from the file that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

IMAGE_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
}
"""Media type by file ending."""
IMAGE_SUFFIXES = tuple(IMAGE_TYPES)
OTHER_IMAGE_SUFFIXES = (".heic", ".heif", ".tif", ".tiff", ".jfif", ".jpe", ".jxl", ".jp2", ".svg", ".psd")
"""Endings of files that are images for a person, whether the vendor takes their bytes or not."""
SIGNATURE_BYTES = 512
"""How many first bytes of a file `sniff_image` looks at."""
TAIL_BYTES = 64 * 1024
"""How many last bytes of a file `sniff_image` looks at. Cameras add up to some KB of their own behind the image."""
MAX_IMAGE_BYTES = 100 * 2**20
"""The vendor takes files of at most 100 MB (API doc)."""

NOT_AN_IMAGE = "is not a JPEG, PNG, WebP, GIF, BMP or AVIF image"
_CONVERT = "convert it to JPEG, for example with `magick FILE FILE.jpg`"
_TRUNCATED = "is truncated: its end is missing, copy or download it again"
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"
_HEIF_BRANDS = {b"mif1", b"msf1", b"miaf", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_REFUSED = {
    b"II*\0": f"is a TIFF image or a camera's raw file: {_CONVERT}",
    b"MM\0*": f"is a TIFF image or a camera's raw file: {_CONVERT}",
    b"8BPS": f"is a Photoshop file: {_CONVERT}",
    b"\0\0\0\x0cJXL ": f"is a JPEG XL image: {_CONVERT}",
    b"\0\0\0\x0cjP  ": f"is a JPEG 2000 image: {_CONVERT}",
    b"\0\5\x16\7": "is an AppleDouble file, in which macOS keeps attributes: take the file whose name lacks the `._`",
}
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta")
_SVG = (b"<!doctype svg", b"<svg")


@dataclass(frozen=True)
class ImageType:
    """An accepted format: its file ending and media type."""

    suffix: str

    @property
    def media_type(self) -> str:
        """Such as `image/jpeg`."""
        return IMAGE_TYPES[self.suffix]


def sniff_image(head: bytes, *, tail: bytes | None = None, size: int | None = None) -> ImageType | str:
    """Return the format of a file, or why it is not accepted, as the end of a sentence ("is …").

    `head`: the first SIGNATURE_BYTES of the file. `tail`: its last TAIL_BYTES, None if they are not known. `size`: in
    bytes, None if it is not known. Without tail and size no truncation is found.
    """
    if not head:
        return "is empty: copy or download it again"
    if size is not None and size > MAX_IMAGE_BYTES:
        return f"has {size:,} bytes: the vendor takes at most {MAX_IMAGE_BYTES:,}"
    suffix = _suffix(head)
    if suffix is None:
        return _reason(head)
    return _TRUNCATED if _is_truncated(suffix, head, tail, size) else ImageType(suffix)


def sniff_file(file: IO[bytes]) -> ImageType | str:
    """Return what `sniff_image` returns, of an open file that can seek. Its position changes."""
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL_BYTES))
    tail = file.read(TAIL_BYTES)
    file.seek(0)
    return sniff_image(file.read(SIGNATURE_BYTES), tail=tail, size=size)


def is_html(head: bytes) -> bool:
    """Return whether a file that begins with `head` is an HTML page."""
    return markup(head).startswith(_HTML)


def is_heic(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a HEIC image, which phones make and the vendor does not take."""
    return _suffix(head) is None and bool(brands(head) & _HEIF_BRANDS)


def markup(head: bytes) -> bytes:
    """Return a text in lower case, without its byte order mark, and the comments and XML declaration of markup."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    while text.startswith((b"<!--", b"<?xml")):
        text = text.partition(b"-->" if text.startswith(b"<!--") else b">")[2].lstrip()
    return text


def brands(head: bytes) -> set[bytes]:
    """Return the brands of an ISO media file: the major one, and those that it is compatible with (ISO 14496-12)."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4]), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}


def _suffix(head: bytes) -> str | None:
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ".webp"
    if brands(head) & {b"avif", b"avis"}:
        return ".avif"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return ".bmp"
    return None


def _reason(head: bytes) -> str:
    """Return what a file is that is no accepted image."""
    if is_html(head):
        return "is an HTML page, not an image: open its address in a browser, and save the image itself"
    if markup(head).startswith(_SVG):
        return f"is an SVG drawing: {_CONVERT}"
    if brands(head) & _HEIF_BRANDS:
        return f"is a HEIC image: {_CONVERT}"
    return next((reason for signature, reason in _REFUSED.items() if head.startswith(signature)), NOT_AN_IMAGE)


def _is_truncated(suffix: str, head: bytes, tail: bytes | None, size: int | None) -> bool:
    """Return whether the end of a JPEG, PNG or WebP image is missing. Other formats do not mark their end.

    Bytes behind the end are allowed. Not found is a JPEG of more than TAIL_BYTES that breaks off in its header, or that
    has the end of a preview among its last bytes.
    """
    if suffix == ".webp":
        return size is not None and size < int.from_bytes(head[4:8], "little") + 8
    if tail is None or suffix not in (".jpg", ".png"):
        return False
    if suffix == ".png":
        return _PNG_END not in tail
    if size == len(tail):
        return _JPEG_END not in tail[_scan_start(tail) :]
    return _JPEG_END not in tail and _is_scan(tail)


def _scan_start(jpeg: bytes) -> int:
    """Return where the first scan of a JPEG begins: before it are segments with a length, which may hold a preview."""
    at = 2
    while jpeg[at : at + 1] == b"\xff" and (marker := jpeg[at + 1 : at + 2]) != b"\xda":
        at += 1 if marker == b"\xff" else 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return at


def _is_scan(data: bytes) -> bool:
    """Return whether data can be inside a JPEG's scan, where only 00, FF and D0 to D7 follow an FF (ITU T.81)."""
    following = {data[at + 1] for at in range(len(data) - 1) if data[at] == 0xFF}
    return following <= {0x00, 0xFF, *range(0xD0, 0xD8)}
