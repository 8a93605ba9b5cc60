"""The image formats that the service accepts: file endings, media types and first bytes. Pure."""

from __future__ import annotations

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
SIGNATURE_BYTES = 12
"""How many first bytes `image_suffix` needs."""


def image_type(suffix: str) -> str:
    """Return the media type of a file ending such as `.JPG`."""
    return IMAGE_TYPES.get(suffix.lower(), "application/octet-stream")


def image_suffix(head: bytes) -> str | None:
    """Return the file ending of an image that begins with `head`, None if it is not an accepted image."""
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ".webp"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return ".avif"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return ".bmp"
    return None
