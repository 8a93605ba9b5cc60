"""Images on S3 as files for the vendor."""

from __future__ import annotations

from typing import Any

import pytest
from support.images import HTML, JPEG, PNG

from jobs.input_files import stored_image
from pipeline.errors import StorageError
from pipeline.storage.s3 import ObjectInfo


class OneObject:
    """A storage with one object, whose content type is `text/plain`."""

    def __init__(self, data: bytes | None) -> None:
        self._data = data

    def info(self, uri: str) -> ObjectInfo | None:
        return None if self._data is None else ObjectInfo(uri, len(self._data), "text/plain", "etag")

    def read_range(self, info: ObjectInfo, start: int, count: int) -> bytes:
        return (self._data or b"")[start : start + count]


def content_type(data: bytes | None) -> str:
    storage: Any = OneObject(data)
    return stored_image(storage, "s3://bucket/face.png").content_type


@pytest.mark.parametrize(
    ("data", "sent"),
    [(JPEG, "image/jpeg"), (PNG, "image/png"), (b"a sound, a film", "text/plain")],
)
def test_the_bytes_of_an_image_decide_the_content_type_that_the_vendor_gets(data: bytes, sent: str) -> None:
    assert content_type(data) == sent


@pytest.mark.parametrize(("data", "reason"), [(HTML, "is an HTML page"), (b"", "is empty"), (None, "no image")])
def test_what_cannot_be_an_image_is_not_sent(data: bytes | None, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as caught:
        content_type(data)
    assert not caught.value.retryable
