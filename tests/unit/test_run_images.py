"""The image of a run, from a URL or from S3."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from support.images import JPEG

from jobs.run_images import run_image
from pipeline.wiro.client import FileSource, ImageField, RunImage
from pipeline.wiro.errors import NoResponse, VendorFault

STORED = "s3://bucket/faces/1.jpg"
URL = "https://example.com/1.jpg"
FILES = ImageField("inputImage", "fileinput")
URLS = ImageField("inputImageUrl", "text")


class FakeStorage:
    """One image on S3."""

    def confirmed_info(self, uri: str) -> SimpleNamespace:
        return SimpleNamespace(size=len(JPEG), content_type="image/jpeg")

    def read_range(self, info: SimpleNamespace, start: int, end: int) -> bytes:
        return JPEG[start : start + end]

    def open(self, uri: str) -> io.BytesIO:
        return io.BytesIO(JPEG)


def context(*, shared_url: str | None = None, upload: Any = None) -> Any:
    ledger = SimpleNamespace(shared_images=SimpleNamespace(url=lambda batch, image: shared_url))
    service = SimpleNamespace(ledger=ledger, storage=FakeStorage())
    return SimpleNamespace(service=service, wiro=SimpleNamespace(upload=upload))


@pytest.mark.parametrize("field", [FILES, URLS])
def test_a_url_and_an_image_that_was_uploaded_for_the_batch_are_passed_as_urls(field: ImageField) -> None:
    assert run_image(context(), "b", URL, field) == RunImage(field, URL, None)
    assert run_image(context(shared_url=URL), "b", STORED, field) == RunImage(field, URL, None)


def test_an_image_on_s3_is_sent_as_a_file() -> None:
    image = run_image(context(), "b", STORED, FILES)
    assert image.file is not None and image.url is None
    assert (image.file.name, image.file.open().read()) == ("1.jpg", JPEG)


def test_an_image_on_s3_is_uploaded_first_if_its_field_takes_only_a_url() -> None:
    uploaded: list[str] = []

    def upload(file: FileSource) -> str:
        uploaded.append(file.name)
        return URL

    assert run_image(context(upload=upload), "b", STORED, URLS) == RunImage(URLS, URL, None)
    assert uploaded == ["1.jpg"]


def test_a_lost_response_to_the_upload_is_no_lost_run() -> None:
    def upload(file: FileSource) -> str:
        raise NoResponse("cut")

    with pytest.raises(VendorFault):
        run_image(context(upload=upload), "b", STORED, URLS)
