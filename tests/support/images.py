"""Images of a few bytes: complete by their first and last bytes."""

from __future__ import annotations

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xda\x00\x02" + bytes(10) + b"\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\x00IDAT" + bytes(8) + b"\x00\x00\x00\x00IEND\xaeB`\x82"
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>"

SIGNATURES = {
    ".jpg": JPEG,
    ".png": PNG,
    ".gif": b"GIF89a",
    ".webp": b"RIFF\x10\0\0\0WEBP",
    ".avif": b"\0\0\0\x20ftypavif",
    ".bmp": b"BM\x10\0\0\0\0\0\0\0",
}
"""The first bytes of each format."""


def a_jpeg(mark: object = "") -> bytes:
    """Return a JPEG with a text in it, so that two of them differ."""
    return JPEG[:-2] + str(mark).encode() + JPEG[-2:]
