"""Images of a manifest that no run can use, found before a run is paid: each distinct URL and S3 object once.

A response of the image's server that the vendor would get too is an error. Trouble on the way from here (no response,
a server that is busy or has failed) is a warning: the vendor may have more luck, and the next check may, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice

from pipeline.domain.image_types import IMAGE_TYPES, MAX_IMAGE_BYTES, NOT_AN_IMAGE, is_html, sniff_image
from pipeline.domain.media_signatures import JSON, MARKUP, sniff_media
from pipeline.domain.model import Manifest
from pipeline.errors import StorageError
from pipeline.net.image_request import ImageRequests, ImageResponse, NoImageResponse
from pipeline.storage.s3 import Storage
from pipeline.storage.stored_images import sniff_head

MAX_CONCURRENT = 32
MAX_TOTAL_S = 600.0
"""Seconds after which the images that are left are not checked."""
_BUSY = (408, 425, 429)
_NO_BYTES = 416
"""The response for the first bytes of an empty file."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with an image: the end of a sentence."""

    message: str
    is_warning: bool = False


@dataclass(frozen=True)
class ImageProblem:
    """A finding about the image of an item. `index`: of the item in `Manifest.items`."""

    index: int
    message: str
    is_warning: bool


Check = Callable[[str], Finding | None]
"""Returns what is wrong with the image at a URL or S3 URI. Raises nothing."""


def check_images(
    manifest: Manifest,
    check: Check,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    max_total_s: float = MAX_TOTAL_S,
) -> list[ImageProblem]:
    """Return the problems of all images with an address, in the order of the items. Image files are not among them.

    `on_progress` gets the number of images that are checked, and of all.
    """
    images = list(dict.fromkeys(item.image for item in manifest.items if item.image and "://" in item.image))
    findings: dict[str, Finding | None] = {}
    on_progress(0, len(images))
    for image, finding in _check_all(images, check, max_total_s):
        findings[image] = finding
        on_progress(len(findings), len(images))
    left = Finding(f"was not checked: the check of {len(images):,} images ended after {max_total_s:.0f} s", True)
    return [
        ImageProblem(index, f"image {finding.message}", finding.is_warning)
        for index, item in enumerate(manifest.items)
        if item.image and "://" in item.image and (finding := findings.get(item.image, left))
    ]


def image_check(storage: Storage, fetch_hosts: Iterable[str]) -> Check:
    """Return the check that requests images from S3 and from the servers of URLs."""
    requests = ImageRequests(fetch_hosts)

    def check(image: str) -> Finding | None:
        if image.startswith("s3://"):
            return check_object(storage, image)
        return check_url(image, requests.fetch)

    return check


def check_url(url: str, fetch: Callable[[str], ImageResponse]) -> Finding | None:
    """Return what is wrong with the image at a URL. `fetch` may raise NoImageResponse."""
    try:
        response = fetch(url)
    except NoImageResponse as error:
        return Finding(f"was not checked: its address {error}", is_warning=True)
    if response.status == _NO_BYTES:
        return Finding("is empty")
    if response.status not in (200, 206):
        is_warning = response.status in _BUSY or response.status >= 500
        advice = ": use a public or presigned address" if response.status in (401, 403) else ""
        return Finding(f"cannot be downloaded: its server answers HTTP {response.status}{advice}", is_warning)
    if response.size is not None and response.size > MAX_IMAGE_BYTES:
        return Finding(f"has {response.size:,} bytes: the vendor takes at most {MAX_IMAGE_BYTES:,}")
    found = sniff_image(response.head)
    if not isinstance(found, str):
        return None
    if is_html(response.head) or (found == NOT_AN_IMAGE and response.content_type == "text/html"):
        return Finding(_html_message(url, response.url))
    is_document = sniff_media(response.head) in (MARKUP, JSON)
    return _refusal(found, response.content_type, is_document)


def check_object(storage: Storage, uri: str) -> Finding | None:
    """Return what is wrong with an image on S3."""
    try:
        info = storage.confirmed_info(uri)
        if info is None:
            return Finding("does not exist on S3")
        found = sniff_head(storage, info)
    except StorageError as error:
        return Finding(f"cannot be read: {error}", is_warning=error.retryable)
    return _refusal(found, info.content_type) if isinstance(found, str) else None


def _refusal(found: str, content_type: str, is_document: bool = False) -> Finding:
    # A model may take other files than images: what only is unknown, and claims to be no image, is not refused.
    is_refused = is_document or content_type in IMAGE_TYPES.values()
    return Finding(found, is_warning=found == NOT_AN_IMAGE and not is_refused)


def _html_message(url: str, final_url: str) -> str:
    if final_url == url:
        return "is an HTML page, not an image: write the address of the image itself"
    place = final_url.partition("?")[0]
    return f"redirects to an HTML page, {place}: if it is a log-in page, use a public or presigned address"


def _check_all(images: Iterable[str], check: Check, max_total_s: float) -> Iterator[tuple[str, Finding | None]]:
    """Yield each image with its finding, as they come, until the time is over."""
    deadline = time.monotonic() + max_total_s
    waiting = iter(images)
    executor = ThreadPoolExecutor(MAX_CONCURRENT, thread_name_prefix="check-image")
    running: dict[Future[Finding | None], str] = {}
    try:
        while time.monotonic() < deadline:
            free = MAX_CONCURRENT - len(running)
            running |= {executor.submit(check, image): image for image in islice(waiting, free)}
            if not running:
                return
            done, _ = wait(running, max(0, deadline - time.monotonic()), FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
