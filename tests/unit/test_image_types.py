"""Image formats: file endings, media types and first bytes agree."""

from __future__ import annotations

import pytest

from pipeline.domain.image_types import IMAGE_SUFFIXES, SIGNATURE_BYTES, image_suffix, image_type

SIGNATURES = {
    ".jpg": b"\xff\xd8\xff\xe0",
    ".png": b"\x89PNG\r\n\x1a\n",
    ".gif": b"GIF89a",
    ".webp": b"RIFF\x10\0\0\0WEBP",
    ".avif": b"\0\0\0\x20ftypavif",
    ".bmp": b"BM\x10\0\0\0\0\0\0\0",
}


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_an_image_is_recognized_by_its_first_bytes(suffix: str) -> None:
    assert image_suffix(SIGNATURES[suffix].ljust(40, b"\0")[:SIGNATURE_BYTES]) == suffix
    assert suffix in IMAGE_SUFFIXES
    assert image_type(suffix.upper()).startswith("image/")


@pytest.mark.parametrize("head", [b"", b"<svg>", b"RIFF\x10\0\0\0WAVE", b"\0\0\0\x20ftypmp42"])
def test_other_content_is_not_an_image(head: bytes) -> None:
    assert image_suffix(head) is None
    assert image_type(".svg") == "application/octet-stream"
