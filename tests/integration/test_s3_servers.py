"""S3 servers differ: every operation of the store gives the right result, or an error that states what to do."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3
from support.quirky_s3 import QUIRKS, QuirkyS3, Request, Response

from pipeline.errors import StorageError
from pipeline.storage import journal
from pipeline.storage.multipart_upload import PART_BYTES
from pipeline.storage.s3 import Storage, split

PAGES = [quirk for quirk in QUIRKS if "page" in quirk]
COPES_WITH = [
    quirk
    for quirk in QUIRKS
    if quirk
    not in {
        "missing is 403", "listing refused", "listing empty", "busy", "clock", "checksum demanded", "no multipart",
        "no copy", "region", "no bucket", "errors as HTML", "busy at first", *PAGES,
    }
]  # fmt: skip


@pytest.fixture
def quirky(proxy: QuirkyS3, storage: Storage) -> Storage:
    """The store behind the proxy. `storage` is the one without it."""
    proxy.set("")
    return Storage(proxy.url)


def names(infos: Iterator[object]) -> list[str]:
    return [str(getattr(info, "uri", "")).rpartition("/")[2] for info in infos]


@pytest.mark.parametrize("quirk", COPES_WITH)
def test_every_operation_works_with_a_server_that_differs(
    quirk: str, proxy: QuirkyS3, quirky: Storage, storage: Storage, bucket: str
) -> None:
    proxy.set(quirk)
    uri = f"{bucket}a b/ü+1.txt"

    quirky.put(uri, b"hello", "text/plain")
    assert storage.get(uri) == b"hello"
    assert quirky.get(uri) == b"hello"
    assert quirky.get(f"{bucket}none") is None
    assert quirky.info(f"{bucket}none") is None
    info, plain = quirky.info(uri), storage.info(uri)
    assert info
    assert plain
    assert (info.size, info.content_type) == (5, "text/plain")
    assert quirky.read_range(info, 2, 2) == b"ll"
    quirky.put(f"{bucket}empty", b"", "text/plain")
    empty = quirky.info(f"{bucket}empty")
    assert empty
    assert empty.size == 0

    for number in range(5):
        quirky.put(f"{bucket}list/{number} x", b"1", "text/plain")
    assert names(quirky.list(f"{bucket}list/")) == [f"{number} x" for number in range(5)]
    assert [one.size for one in quirky.list(f"{bucket}list/")] == [1] * 5
    assert names(quirky.list(f"{bucket}a b/")) == ["ü+1.txt"]
    assert list(quirky.list(f"{bucket}nothing/")) == []

    assert quirky.copy(uri, f"{bucket}copy")
    assert not quirky.copy(f"{bucket}none", f"{bucket}copy")
    assert quirky.get(f"{bucket}copy") == b"hello"
    quirky.delete(f"{bucket}copy")
    quirky.delete(f"{bucket}copy")
    assert storage.info(f"{bucket}copy") is None

    url = quirky.presign(uri, expires_s=60, content_type="text/plain")
    assert urllib3.request("GET", url, retries=urllib3.Retry(3, status_forcelist=[503])).data == b"hello"


@pytest.mark.parametrize("quirk", COPES_WITH)
def test_conditional_writes_end_well_with_a_server_that_differs(
    quirk: str, proxy: QuirkyS3, quirky: Storage, bucket: str
) -> None:
    proxy.set(quirk)
    uri = f"{bucket}results.json"
    assert quirky.put_if_absent(uri, b"1", "text/plain")
    # Where the server ignores the condition, only the lease in Redis keeps writers apart.
    assert quirk == "If-None-Match ignored" or not quirky.put_if_absent(uri, b"0", "text/plain")
    before = quirky.info(uri)
    assert before
    with io.BytesIO(b"__2") as file:
        file.seek(2)
        assert quirky.put_if_match(uri, file, "text/plain", before.etag)
    assert quirky.get(uri) == b"2"
    may_overwrite = quirk in ("If-Match ignored", "no ETags")
    assert may_overwrite or not quirky.put_if_match(uri, io.BytesIO(b"late"), "text/plain", before.etag)
    assert may_overwrite or not quirky.put_if_match(f"{bucket}none", b"late", "text/plain", before.etag)


@pytest.mark.parametrize("quirk", ["", "weak ETags", "unquoted ETags", "no Content-Length"])
def test_large_outputs_are_stored_whole(quirk: str, proxy: QuirkyS3, quirky: Storage, bucket: str) -> None:
    proxy.set(quirk)
    data = os.urandom(PART_BYTES + 5)
    assert quirky.put_stream(f"{bucket}large", io.BytesIO(data), "video/mp4") == len(data)
    info = quirky.info(f"{bucket}large")
    assert info
    assert info.size == len(data)
    with quirky.open(f"{bucket}large") as source:
        assert source.read() == data


def test_a_busy_server_is_requested_again(proxy: QuirkyS3, quirky: Storage, bucket: str) -> None:
    proxy.set("busy at first")
    quirky.put(f"{bucket}x", b"hello", "text/plain")
    assert names(quirky.list(bucket)) == ["x"]


@pytest.mark.parametrize("quirk", ["weak ETags", "unquoted ETags"])
def test_an_etag_is_the_same_however_the_server_writes_it(
    quirk: str, proxy: QuirkyS3, quirky: Storage, storage: Storage, bucket: str
) -> None:
    storage.put(f"{bucket}x", b"hello", "text/plain")
    plain = next(storage.list(bucket))
    proxy.set(quirk)
    listed, info = next(quirky.list(bucket)), quirky.info(f"{bucket}x")
    assert info
    assert listed.etag == info.etag == plain.etag


@pytest.mark.parametrize(("setting", "is_sent"), [(None, False), ("when_required", False), ("when_supported", True)])
def test_the_setting_of_boto3_for_checksums_is_obeyed(
    setting: str | None,
    is_sent: bool,
    proxy: QuirkyS3,
    quirky: Storage,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if setting:
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", setting)
    proxy.set("checksum demanded")
    data = os.urandom(PART_BYTES + 1)
    if is_sent:
        quirky.put(f"{bucket}x", b"hello", "text/plain")
        quirky.put_stream(f"{bucket}large", io.BytesIO(data), "video/mp4")
        assert quirky.get(f"{bucket}large") == data
        proxy.set("checksum refused")
        with pytest.raises(StorageError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_required"):
            quirky.put(f"{bucket}x", b"hello", "text/plain")
    else:
        with pytest.raises(StorageError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_supported"):
            quirky.put(f"{bucket}x", b"hello", "text/plain")


def test_a_setting_in_the_configuration_file_of_aws_is_obeyed(
    proxy: QuirkyS3, quirky: Storage, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nrequest_checksum_calculation = when_supported\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    proxy.set("checksum demanded")
    quirky.put(f"{bucket}x", b"hello", "text/plain")


@pytest.mark.parametrize(
    ("quirk", "words"),
    [
        ("missing is 403", ["AccessDenied|HTTP 403", "s3:ListBucket", "does not exist"]),
        ("busy", ["SlowDown|HTTP 503", "limits requests"]),
        ("clock", ["RequestTimeTooSkewed|HTTP 403", "clock|policy"]),
        ("no bucket", ["NoSuchBucket", "Create the bucket"]),
        ("region", ["AuthorizationHeaderMalformed|HTTP 400", "AWS_DEFAULT_REGION|400"]),
        ("errors as HTML", ["HTML|HTTP 404", "not an answer of S3", "AWS_ENDPOINT_URL_S3"]),
    ],
)
def test_an_error_is_in_words(quirk: str, words: list[str], proxy: QuirkyS3, quirky: Storage, bucket: str) -> None:
    proxy.set(quirk)
    with pytest.raises(StorageError) as caught:
        Storage(proxy.url, timeout_s=30).get(f"{bucket}none")
    for pattern in [*words, bucket]:
        assert any(word in str(caught.value) for word in pattern.split("|")), (pattern, str(caught.value))
    assert caught.value.retryable is (quirk in ("busy", "clock"))


def test_a_404_of_a_proxy_is_no_proof_that_an_object_is_missing(proxy: QuirkyS3, quirky: Storage, bucket: str) -> None:
    quirky.put(f"{bucket}x", b"hello", "text/plain")
    proxy.set("errors as HTML")
    for call in (quirky.info, quirky.get):
        with pytest.raises(StorageError, match="not an answer of S3"):
            call(f"{bucket}none")


def test_a_head_with_an_html_type_is_confirmed_by_a_get(proxy: QuirkyS3, quirky: Storage, bucket: str) -> None:
    proxy.before = lambda request: Response(404, {"content-type": "text/html"}) if request.method == "HEAD" else None
    quirky.put(f"{bucket}x", b"hello", "text/plain")
    assert quirky.info(f"{bucket}none") is None
    info = quirky.info(f"{bucket}x")
    assert info
    assert info.size == 5


def test_a_page_in_place_of_a_document_is_an_error(proxy: QuirkyS3, quirky: Storage, bucket: str) -> None:
    page = b"<html><body>Sign in<br></body></html>"
    proxy.before = lambda request: Response(200, {"content-type": "text/html"}, page)
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL_S3") as caught:
        list(Storage(proxy.url, timeout_s=30).list(bucket))
    assert "Sign in" not in str(caught.value)


WRITES: dict[str, Callable[[Storage, str], object]] = {
    "put": lambda storage, bucket: storage.put(f"{bucket}x", b"new", "text/plain"),
    "put_if_absent": lambda storage, bucket: storage.put_if_absent(f"{bucket}new", b"new", "text/plain"),
    "put_if_match": lambda storage, bucket: storage.put_if_match(f"{bucket}x", b"new", "text/plain", '"1"'),
    "put_stream": lambda storage, bucket: storage.put_stream(
        f"{bucket}x", io.BytesIO(bytes(PART_BYTES + 1)), "video/mp4"
    ),
    "copy": lambda storage, bucket: storage.copy(f"{bucket}x", f"{bucket}new"),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("quirk", PAGES)
def test_a_write_that_a_page_answers_is_not_done(
    quirk: str, write: str, proxy: QuirkyS3, quirky: Storage, storage: Storage, bucket: str
) -> None:
    storage.put(f"{bucket}x", b"old", "text/plain")
    proxy.set(quirk)
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL_S3") as caught:
        WRITES[write](quirky, bucket)
    assert caught.value.retryable
    assert storage.get(f"{bucket}x") == b"old"


@pytest.mark.parametrize(
    "is_answered",
    [
        lambda request: "partNumber" in request.query,
        lambda request: request.method == "POST" and "uploadId" in request.query,
    ],
    ids=["a part", "the end"],
)
def test_an_upload_that_a_page_answers_in_between_is_not_done(
    is_answered: Callable[[Request], bool], proxy: QuirkyS3, quirky: Storage, storage: Storage, bucket: str
) -> None:
    page = b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><body/></html>"
    proxy.before = lambda request: Response(200, {}, page) if is_answered(request) else None
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL_S3"):
        WRITES["put_stream"](quirky, bucket)
    assert storage.info(f"{bucket}x") is None


READS: dict[str, Callable[[Storage, str], object]] = {
    "info": lambda storage, bucket: storage.info(f"{bucket}x"),
    "get": lambda storage, bucket: storage.get(f"{bucket}x"),
    "list": lambda storage, bucket: list(storage.list(bucket)),
    "delete": lambda storage, bucket: storage.delete(f"{bucket}x"),
    "abort_uploads": lambda storage, bucket: storage.abort_uploads(bucket),
}


@pytest.mark.parametrize("call", READS)
def test_a_well_formed_page_is_no_object_no_listing_and_no_deletion(
    call: str, proxy: QuirkyS3, quirky: Storage, bucket: str
) -> None:
    proxy.set("a page")
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL_S3"):
        READS[call](quirky, bucket)


@pytest.mark.parametrize("body", [b"", b"<?xml version='1.0'?><Health>ok</Health>"])
def test_a_document_of_another_kind_is_no_empty_listing(
    body: bytes, proxy: QuirkyS3, quirky: Storage, bucket: str
) -> None:
    proxy.before = lambda request: Response(200, {"content-type": "application/xml"}, body)
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL_S3"):
        list(quirky.list(bucket))


def test_a_page_that_s3_stores_is_an_object(quirky: Storage, bucket: str) -> None:
    quirky.put(f"{bucket}index.html", b"<html></html>", "text/html; charset=utf-8")
    assert quirky.get(f"{bucket}index.html") == b"<html></html>"
    assert quirky.info(f"{bucket}index.html")


def test_without_any_length_the_size_is_an_error_and_no_crash(proxy: QuirkyS3, quirky: Storage, bucket: str) -> None:
    quirky.put(f"{bucket}x", b"hello", "text/plain")

    def after(request: object, response: Response) -> Response:
        response.headers.pop("content-range", None)
        response.has_length = False
        return response

    proxy.after = after
    with pytest.raises(StorageError, match="no Content-Length") as caught:
        quirky.info(f"{bucket}x")
    assert not caught.value.retryable


def test_a_listing_that_leads_nowhere_is_an_error_and_not_short(proxy: QuirkyS3, quirky: Storage, bucket: str) -> None:
    for number in range(5):
        quirky.put(f"{bucket}{number}", b"1", "text/plain")
    proxy.set("listing without a token")
    before = proxy.before

    def ignores_marker(request: object) -> Response | None:
        request.with_query(marker=None)  # type: ignore[attr-defined]
        return before(request)  # type: ignore[arg-type]

    proxy.before = lambda request: ignores_marker(request) if request.is_listing else None
    with pytest.raises(StorageError, match="incomplete"):
        list(quirky.list(bucket))


def put_encoded(storage: Storage, uri: str, data: bytes, encoding: str) -> None:
    bucket, key = split(uri)
    storage._s3.put_object(Bucket=bucket, Key=key, Body=data, ContentEncoding=encoding)


def test_gzip_is_decoded(storage: Storage, bucket: str) -> None:
    put_encoded(storage, f"{bucket}m", gzip.compress(b"version: 1\n"), "gzip")
    assert storage.get(f"{bucket}m") == b"version: 1\n"
    assert storage.read_prefix(f"{bucket}m", 7) == b"version"
    # The server has decoded it and kept the header.
    put_encoded(storage, f"{bucket}m", b"version: 1\n", "gzip")
    assert storage.get(f"{bucket}m") == b"version: 1\n"


def test_a_gzip_bomb_is_refused_without_decoding_it(storage: Storage, bucket: str) -> None:
    put_encoded(storage, f"{bucket}bomb", gzip.compress(bytes(50_000_000)), "gzip")
    with pytest.raises(StorageError, match="larger than 1,000,000 bytes"):
        storage.get(f"{bucket}bomb", max_bytes=1_000_000)


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (gzip.compress(b"version: 1\n" * 9, mtime=0)[:-12], "gzip", "damaged"),
        (b"\x1f\x8b\x08nonsense", "gzip", "damaged"),
        (zlib.compress(b"x"), "deflate", "Content-Encoding: deflate"),
    ],
    ids=["truncated", "nonsense", "deflate"],
)
def test_other_encodings_are_refused_in_words(
    storage: Storage, bucket: str, data: bytes, encoding: str, message: str
) -> None:
    put_encoded(storage, f"{bucket}m", data, encoding)
    with pytest.raises(StorageError, match=message) as caught:
        storage.get(f"{bucket}m")
    assert not caught.value.retryable


@pytest.mark.parametrize("quirk", ["listing of version 1", "listing without a token", "encoded keys, unsaid"])
def test_a_journal_is_read_whole(quirk: str, proxy: QuirkyS3, quirky: Storage, bucket: str) -> None:
    writer = journal.Journal(quirky)
    for number in range(5):
        writer.write(f"{bucket}b/", [{"do": "run", "item": f"i{number}", "attempt": 1}])
    proxy.set(quirk)
    assert [entry["item"] for entry in journal.entries(quirky, f"{bucket}b/")] == [f"i{n}" for n in range(5)]
