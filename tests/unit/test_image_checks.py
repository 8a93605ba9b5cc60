"""Images of a manifest that no run can use are found before a run is paid."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest
from support.images import HTML, JPEG
from support.manifests import HEAD, parse_manifest

from pipeline.batches.image_checks import MAX_CONCURRENT, Finding, ImageProblem, check_images, check_object, check_url
from pipeline.errors import StorageError
from pipeline.net.image_request import ImageResponse, NoImageResponse
from pipeline.storage.s3 import ObjectInfo

URL = "https://e.com/1.jpg"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def finding(status: int = 200, content_type: str = "", size: int | None = None, head: bytes = b"") -> Any:
    return check_url(URL, lambda url: ImageResponse(status, url, content_type, size, head))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_an_image_that_its_server_refuses_is_an_error(status: int) -> None:
    found = finding(status, "text/html", head=HTML)
    assert f"HTTP {status}" in found.message
    assert not found.is_warning


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_server_that_is_busy_is_a_warning(status: int) -> None:
    assert finding(status).is_warning


def test_no_response_is_a_warning_because_the_vendor_may_get_one() -> None:
    def fetch(url: str) -> ImageResponse:
        raise NoImageResponse("did not answer: ReadTimeoutError")

    found = check_url(URL, fetch)
    assert found == Finding("was not checked: its address did not answer: ReadTimeoutError", is_warning=True)


def test_an_image_is_accepted_by_its_bytes_whatever_its_server_states() -> None:
    assert finding(content_type="image/jpeg", size=9, head=JPEG) is None
    assert finding(206, "application/octet-stream", 9, JPEG) is None
    assert finding(206, "text/html", 9, JPEG) is None


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({"content_type": "text/html", "head": HTML}, "is an HTML page, not an image"),
        ({"content_type": "image/jpeg", "head": HTML}, "is an HTML page, not an image"),
        ({"content_type": "text/html", "head": b"Please sign in"}, "is an HTML page, not an image"),
        ({"content_type": "image/heic", "head": HEIC}, "is a HEIC image: convert it to JPEG"),
        ({"content_type": "image/jpeg", "head": b"text"}, "is not a JPEG"),
        ({"content_type": "image/jpeg", "size": 200_000_000}, "has 200,000,000 bytes: the vendor takes at most"),
        ({"content_type": "image/jpeg", "size": 0}, "is empty"),
        ({"status": 416}, "is empty"),
        ({"content_type": "application/json", "head": b'{"error": "expired"}'}, "is not a JPEG"),
        (
            {"content_type": "", "head": b"<?xml version='1.0'?><Error></Error>"},
            "is not a JPEG",
        ),
    ],
)
def test_a_response_that_is_no_usable_image_is_an_error(response: dict[str, Any], message: str) -> None:
    found = finding(**response)
    assert found.message.startswith(message)
    assert not found.is_warning


def test_a_file_that_may_be_meant_for_another_model_is_a_warning() -> None:
    assert finding(206, "video/mp4", head=b"\0\0\0\x20ftypmp42").is_warning


def test_a_redirect_to_a_log_in_page_is_named_without_its_query() -> None:
    page = ImageResponse(200, "https://e.com/login?next=secret", "text/html", None, HTML)
    found = check_url(URL, lambda url: page)
    assert found
    assert found.message.startswith("redirects to an HTML page, https://e.com/login: if it is a log-in page")


class Objects:
    """A storage with some objects. An error is raised in place of one."""

    def __init__(self, objects: dict[str, bytes | StorageError]) -> None:
        self._objects = objects

    def confirmed_info(self, uri: str) -> ObjectInfo | None:
        found = self._objects.get(uri)
        if isinstance(found, StorageError):
            raise found
        return None if found is None else ObjectInfo(uri, len(found), "image/jpeg", "e")

    def read_range(self, info: ObjectInfo, start: int, count: int) -> bytes:
        data = self._objects[info.uri]
        assert isinstance(data, bytes)
        return data[start : start + count]


@pytest.mark.parametrize(
    ("found", "finding"),
    [
        (JPEG, None),
        (None, Finding("does not exist on S3")),
        (b"", Finding("is empty: copy or download it again")),
        (StorageError("AccessDenied.", retryable=False), Finding("cannot be read: AccessDenied.")),
        (StorageError("SlowDown.", retryable=True), Finding("cannot be read: SlowDown.", is_warning=True)),
    ],
)
def test_an_image_on_s3_must_exist_and_be_readable(found: Any, finding: Finding | None) -> None:
    storage: Any = Objects({"s3://b/1.jpg": found} if found is not None else {})
    assert check_object(storage, "s3://b/1.jpg") == finding


def test_each_image_is_requested_once_and_each_of_its_items_has_the_problem() -> None:
    images = ["https://e.com/a.jpg", "s3://bucket/b.jpg", "https://e.com/a.jpg"]
    manifest = parse_manifest(HEAD + "items:\n" + "".join(f"- {{image: '{image}'}}\n" for image in images))
    asked: Counter[str] = Counter()
    progress: list[tuple[int, int]] = []

    def check(image: str) -> Finding | None:
        asked[image] += 1
        return Finding("is wrong") if "a.jpg" in image else None

    problems = check_images(manifest, check, on_progress=lambda done, total: progress.append((done, total)))
    assert problems == [ImageProblem(0, "image is wrong", False), ImageProblem(2, "image is wrong", False)]
    assert asked == {"https://e.com/a.jpg": 1, "s3://bucket/b.jpg": 1}
    assert progress == [(0, 2), (1, 2), (2, 2)]


def test_at_most_32_images_are_requested_at_a_time() -> None:
    manifest = parse_manifest(
        HEAD + "items:\n" + "".join(f"- {{image: 'https://e.com/{n}.jpg'}}\n" for n in range(100))
    )
    lock, running, most = threading.Lock(), 0, 0

    def check(image: str) -> Finding | None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return None

    assert check_images(manifest, check) == []
    assert 1 < most <= MAX_CONCURRENT == 32


def test_images_that_are_left_when_the_time_is_over_are_warnings() -> None:
    manifest = parse_manifest(HEAD + "items:\n" + "".join(f"- {{image: 'https://e.com/{n}.jpg'}}\n" for n in range(40)))
    release = threading.Event()

    def check(image: str) -> Finding | None:
        release.wait(30)
        return None

    problems = check_images(manifest, check, max_total_s=0.05)
    release.set()
    assert len(problems) == 40
    assert all(problem.is_warning and "ended after" in problem.message for problem in problems)
