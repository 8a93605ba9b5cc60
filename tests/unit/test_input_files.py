"""Images on S3 as files for the vendor."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from support.images import HTML, JPEG, PNG

from jobs.input_files import stored_image
from pipeline.errors import StorageError
from pipeline.storage.s3 import ObjectInfo

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


class OneObject:
    """A storage with one object."""

    def __init__(self, data: bytes | None, content_type: str) -> None:
        self._data = data
        self._content_type = content_type

    def confirmed_info(self, uri: str) -> ObjectInfo | None:
        return None if self._data is None else ObjectInfo(uri, len(self._data), self._content_type, "etag")

    def read_range(self, info: ObjectInfo, start: int, count: int) -> bytes:
        return (self._data or b"")[start : start + count]


def sent(data: bytes | None, name: str = "face.png", content_type: str = "text/plain") -> tuple[str, str]:
    """Return the name and the content type that the vendor gets."""
    storage: Any = OneObject(data, content_type)
    file = stored_image(storage, f"s3://bucket/{name}")
    return file.name, file.content_type


@pytest.mark.parametrize(
    ("data", "name", "as_sent"),
    [
        (PNG, "face.png", ("face.png", "image/png")),
        (JPEG, "face.png", ("face.jpg", "image/jpeg")),
        (JPEG, "face.jpeg", ("face.jpeg", "image/jpeg")),
        (JPEG, "face", ("face.jpg", "image/jpeg")),
        (b"a sound, a film", "face.png", ("face.png", "text/plain")),
        (b"\0\1\2", "mesh.obj", ("mesh.obj", "x/y")),
        (b"\0\0\0\x18ftypisom", "face.png", ("face.mp4", "video/mp4")),
        (b"\0\0\0\x18ftypheic", "face.png", ("face.heic", "image/heic")),
        (b"II*\0", "scan.jpg", ("scan.tif", "image/tiff")),
    ],
)
def test_the_bytes_of_an_image_decide_the_name_and_the_type_that_the_vendor_gets(
    data: bytes, name: str, as_sent: tuple[str, str]
) -> None:
    assert sent(data, name, "x/y" if name == "mesh.obj" else "text/plain") == as_sent


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (HTML, "is an HTML page"),
        (b'{"error": "denied"}', "is a JSON document, not image/png"),
        (b"<?xml version='1.0'?><Error/>", "is an HTML or XML document, not image/png"),
        (b"", "is empty"),
        (None, "no image"),
    ],
)
def test_what_cannot_be_an_image_is_not_sent(data: bytes | None, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as caught:
        sent(data)
    assert not caught.value.retryable


def test_a_drawing_that_says_so_is_sent_as_one() -> None:
    assert sent(SVG, "logo.svg", "image/svg+xml") == ("logo.svg", "image/svg+xml")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "is an AppleDouble file"),
        (SVG, "is an SVG drawing: convert it"),
        (b"Forbidden", "is not a JPEG"),
        (b"\0\1\2", "is not a JPEG"),
        (gzip.compress(JPEG, mtime=0), "is not a JPEG"),
        (JPEG[:-2], "is truncated"),
        (PNG[:-8], "is truncated"),
        (b"RIFF\x10\1\0\0WEBP", "is truncated"),
    ],
)
def test_what_claims_to_be_an_image_and_is_none_is_not_paid_for(data: bytes, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as caught:
        sent(data, "face.jpg", "image/jpeg")
    assert not caught.value.retryable
