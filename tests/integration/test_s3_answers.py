"""Answers of S3 servers and proxies that nobody expects: an error in words, or the batch goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.quirky_s3 import QuirkyS3, Request, Response, a_quirky_s3

from pipeline.errors import StorageError
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage


@pytest.fixture
def proxy(s3_server: S3Env, storage: Storage, bucket: str) -> Iterator[QuirkyS3]:
    storage.put(f"{bucket}k", b"bytes", "text/plain")
    with a_quirky_s3(s3_server) as proxy:
        yield proxy


def requests(proxy: QuirkyS3, bucket: str) -> list[Callable[[], Any]]:
    """Return a call of each kind of request."""
    storage, uri = Storage(proxy.url, timeout_s=10), f"{bucket}k"
    return [
        lambda: storage.info(uri),
        lambda: storage.get(uri),
        lambda: storage.put(uri, b"other", "text/plain"),
        lambda: list(storage.list(bucket)),
    ]


@pytest.mark.parametrize("status", [302, 308])
def test_a_server_that_redirects_every_request_is_told_in_words(proxy: QuirkyS3, bucket: str, status: int) -> None:
    proxy.before = lambda request: Response(status, {"location": f"https://s3.example.com{request.path}"})
    for call in requests(proxy, bucket)[1:3]:
        with pytest.raises(StorageError, match="such as https:// in place of http://"):
            call()


@pytest.mark.parametrize(
    ("name", "value"),
    [("last-modified", "yesterday"), ("x-amz-mp-parts-count", "many"), ("x-amz-missing-meta", "none")],
)
def test_a_header_that_cannot_be_read_is_told_in_words(proxy: QuirkyS3, bucket: str, name: str, value: str) -> None:
    def with_header(request: Request, response: Response) -> Response:
        response.headers[name] = value
        return response

    proxy.after = with_header
    for call in requests(proxy, bucket)[:2]:
        with pytest.raises(StorageError, match="cannot be read"):
            call()


def test_a_condition_that_is_refused_as_not_implemented_is_left_out(proxy: QuirkyS3, bucket: str) -> None:
    def refuse(request: Request) -> Response | None:
        message = "A header you provided implies functionality that is not implemented"
        has_condition = {"if-match", "if-none-match"} & set(request.headers)
        return Response.error(400, "InvalidArgument", message) if has_condition else None

    proxy.before = refuse
    storage = Storage(proxy.url, timeout_s=10)
    assert not storage.put_if_absent(f"{bucket}k", b"other", "text/plain")
    assert storage.put_if_absent(f"{bucket}new", b"other", "text/plain")
    info = storage.info(f"{bucket}k")
    assert info
    assert storage.put_if_match(f"{bucket}k", b"other", "text/plain", info.etag)
