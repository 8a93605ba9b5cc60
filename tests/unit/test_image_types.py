"""Image formats: the bytes of a file decide, whatever its name is."""

from __future__ import annotations

import io

import pytest
from support.images import JPEG, PNG, SIGNATURES

from pipeline.domain.image_types import (
    IMAGE_SUFFIXES,
    MAX_IMAGE_BYTES,
    NOT_AN_IMAGE,
    TAIL_BYTES,
    ImageType,
    is_html,
    sniff_file,
    sniff_image,
)

HEADER = JPEG[:-12]
"""The JPEG up to the end of its scan's header."""
SCAN = b"\x12\x34\xff\x00\xff\xd0\x56" * 20_000
END = b"\xff\xd9"


def sniffed(data: bytes) -> ImageType | str:
    return sniff_file(io.BytesIO(data))


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_an_image_is_recognized_by_its_first_bytes(suffix: str) -> None:
    found = sniff_image(SIGNATURES[suffix])
    assert isinstance(found, ImageType)
    assert found.suffix == suffix
    assert suffix in IMAGE_SUFFIXES
    assert found.media_type.startswith("image/")


@pytest.mark.parametrize("brand", [b"avif", b"avis", b"mif1", b"miaf", b"msf1"])
def test_avif_is_recognized_by_any_of_its_compatible_brands(brand: bytes) -> None:
    assert sniff_image(b"\0\0\0\x1cftyp" + brand + b"\0\0\0\0mif1avifmiaf") == ImageType(".avif")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC image: convert it to JPEG, for example with `magick"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "is a HEIC image: convert it to JPEG"),
        (b"II*\0\x08\0\0\0", "is a TIFF image or a camera's raw file: convert it to JPEG"),
        (b"MM\0*\0\0\0\x08", "is a TIFF image or a camera's raw file: convert it to JPEG"),
        (b"<!DOCTYPE html><html><head><title>Sign in</title>", "is an HTML page, not an image"),
        (b"\xef\xbb\xbf\n<!-- a --> <HTML lang=en>", "is an HTML page, not an image"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC', "is an HTML page, not an image"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "is an SVG drawing"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X        ", "is an AppleDouble file"),
        (b"\0\0\0\x20ftypmp42\0\0\0\0mp42isom", NOT_AN_IMAGE),
        (b"RIFF\x10\0\0\0WAVE", NOT_AN_IMAGE),
        (b"just text", NOT_AN_IMAGE),
        (b"<!---->" * 73, NOT_AN_IMAGE),
    ],
)
def test_what_is_no_accepted_image_is_refused_with_advice(head: bytes, reason: str) -> None:
    found = sniff_image(head)
    assert isinstance(found, str)
    assert found.startswith(reason)
    assert is_html(head) == ("HTML" in reason)


@pytest.mark.parametrize("whole", [JPEG, PNG, HEADER + SCAN + END], ids=["jpeg", "png", "large jpeg"])
def test_an_image_whose_end_is_missing_is_truncated(whole: bytes) -> None:
    assert isinstance(sniffed(whole), ImageType)
    for length in (len(whole) - 2, len(whole) - 8, max(20, len(whole) - TAIL_BYTES - 1000)):
        assert "is truncated" in str(sniffed(whole[:length]))


def test_a_jpeg_whose_preview_is_complete_is_truncated_all_the_same() -> None:
    preview = b"\xff\xe1" + (len(JPEG) + 2).to_bytes(2) + JPEG
    assert sniffed(JPEG[:2] + preview + JPEG[2:]) == ImageType(".jpg")
    assert "is truncated" in str(sniffed(JPEG[:2] + preview + JPEG[2:-2]))


@pytest.mark.parametrize("added", [b"\0" * 5000, b"\xff\xd8\xff\xe0 a second image", b"SEFT", b"\xff\x01\xff" * 50_000])
def test_bytes_that_a_camera_adds_behind_the_image_are_allowed(added: bytes) -> None:
    assert sniffed(JPEG + added) == ImageType(".jpg")
    assert sniffed(HEADER + SCAN + END + added) == ImageType(".jpg")


def test_the_size_that_a_webp_image_states_is_compared() -> None:
    webp = b"RIFF\x18\0\0\0WEBPVP8 " + bytes(16)
    assert sniffed(webp) == ImageType(".webp")
    assert "is truncated" in str(sniffed(webp[:-1]))


def test_a_file_that_is_too_large_for_the_vendor_is_refused() -> None:
    assert "the vendor takes at most" in str(sniff_image(JPEG, size=MAX_IMAGE_BYTES + 1))
    assert sniff_image(JPEG, size=MAX_IMAGE_BYTES) == ImageType(".jpg")
