"""Uploaded images are found by the names of files that a manifest has."""

from __future__ import annotations

import unicodedata

import pytest

from pipeline.errors import InvalidManifest
from pipeline.manifest import parser
from pipeline.manifest.uploaded_images import UploadedImages

URI = "s3://bucket/inputs/1.jpg"


def images_of(text: str, uploads: UploadedImages) -> list[str | None]:
    manifest = parser.parse(text.encode(), file="m", read_rows=lambda name: b"", local_files=uploads)
    return [item.image for item in manifest.items]


def a_manifest(*images: str) -> str:
    return "version: 1\nname: b\nitems:\n" + "".join(f"- {{image: '{image}', prompt: x}}\n" for image in images)


@pytest.mark.parametrize("image", ["3.jpg", "faces/3.jpg", "faces\\3.jpg", "3.JPG", "C:\\faces\\3.jpg"])
def test_the_name_of_a_file_finds_its_upload_in_any_folder_and_case(image: str) -> None:
    uploads = UploadedImages({"3.jpg": URI})
    assert images_of(a_manifest(image, "https://example.com/4.jpg"), uploads) == [URI, "https://example.com/4.jpg"]
    assert not uploads.missing


def test_a_name_from_a_mac_is_the_same_as_from_elsewhere() -> None:
    decomposed = unicodedata.normalize("NFD", "müller.jpg")
    assert images_of(a_manifest("müller.jpg"), UploadedImages({decomposed: URI})) == [URI]


def test_images_that_are_not_uploaded_yet_are_missing_and_no_errors() -> None:
    uploads = UploadedImages({"3.jpg": URI})
    assert images_of(a_manifest("3.jpg", "faces/4.jpg", "faces/4.jpg"), uploads) == [URI, "faces/4.jpg", "faces/4.jpg"]
    assert list(uploads.missing) == ["faces/4.jpg"]


def test_images_of_a_matrix_are_found_too() -> None:
    text = "version: 1\nname: b\nmatrix: {images: [a/3.jpg], prompts: [x, y]}\n"
    assert images_of(text, UploadedImages({"3.jpg": URI})) == [URI, URI]


def test_two_files_of_one_name_are_an_error_at_its_line() -> None:
    with pytest.raises(InvalidManifest, match="name of its own") as caught:
        images_of(a_manifest("a/3.jpg", "b/3.jpg"), UploadedImages({"3.jpg": URI}))
    assert [problem.line for problem in caught.value.problems] == [5]


def test_the_address_of_an_upload_is_validated_as_any_other() -> None:
    with pytest.raises(InvalidManifest, match="must be"):
        images_of(a_manifest("3.jpg"), UploadedImages({"3.jpg": "data:image/png;base64,"}))
    with pytest.raises(InvalidManifest, match="must be"):
        images_of(a_manifest("3.jpg"), UploadedImages({"3.jpg": "/etc/passwd"}))
