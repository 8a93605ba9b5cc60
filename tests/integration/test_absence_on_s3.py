"""That S3 shows nothing is no proof that there is nothing: no money is spent and no work dropped because of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from redis import Redis
from support.images import JPEG
from support.quirky_s3 import QuirkyS3, Request, Response

from jobs.input_files import stored_image
from pipeline.batches.service import Service
from pipeline.domain.states import ItemState
from pipeline.errors import BatchOnlyOnS3, StorageError
from pipeline.ledger.ledger import Ledger
from pipeline.manifest import parser as manifests
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage

MANIFEST = b'{"version": 1, "name": "b", "items": [{"id": "a", "prompt": "%s"}, {"id": "b", "prompt": "nods"}]}'
RUN = {"do": "run", "item": "a", "attempt": 1}


@pytest.fixture
def service(proxy: QuirkyS3, storage: Storage, redis_url: str, bucket: str) -> Service:
    """The service, whose S3 server is behind the proxy."""
    proxy.set("")
    settings = Settings(redis_url=redis_url, s3_endpoint=proxy.url, output=bucket, wiro_api_url="http://127.0.0.1:1")
    return Service.connect(settings)


def submit(service: Service, prompt: bytes = b"smiles") -> None:
    def no_rows(reference: str) -> bytes:
        raise AssertionError(reference)

    manifest = manifests.parse(MANIFEST % prompt, file="m", read_rows=no_rows, local_files=None)
    service.submission.submit(manifest, "b", trigger="test", folder=None)


@pytest.fixture
def lost(service: Service, redis_url: str, bucket: str) -> str:
    """A batch that Redis has lost, after a run was posted. Returns its folder."""
    submit(service)
    service.journal.write(f"{bucket}b/", [RUN])
    with Redis.from_url(redis_url) as client:
        client.flushall()
    return f"{bucket}b/"


def hide(proxy: QuirkyS3, *hidden: Callable[[Request], bool]) -> None:
    """Answer 404 to requests for which one of `hidden` holds."""
    proxy.before = lambda request: Response.error(404, "NoSuchKey") if any(holds(request) for holds in hidden) else None


def hide_journal(request: Request) -> None:
    """List nothing below `journal/`."""
    if "journal" in request.query.get("prefix", ""):
        request.with_query(prefix="/none/")


def is_head(request: Request) -> bool:
    return request.method == "HEAD"


def is_get(request: Request) -> bool:
    return request.method == "GET" and not request.is_listing


def test_a_run_is_found_again_if_s3_shows_its_journal(service: Service, lost: str, ledger: Ledger) -> None:
    service.recovery.recover(lost)
    assert {row.id: row.status for row in ledger.items.stream("b")} == {"a": ItemState.UNKNOWN, "b": ItemState.PENDING}


def test_a_batch_is_not_recovered_without_its_journal_if_the_listing_is_empty(
    proxy: QuirkyS3, service: Service, lost: str, ledger: Ledger
) -> None:
    proxy.before = hide_journal
    with pytest.raises(StorageError, match="incomplete"):
        service.recovery.recover(lost)
    assert not ledger.queries.recent_batches()


@pytest.mark.parametrize("has_results", [True, False])
def test_nor_if_the_journal_is_of_an_older_version(
    has_results: bool, proxy: QuirkyS3, service: Service, lost: str, storage: Storage, ledger: Ledger
) -> None:
    storage.delete(f"{lost}journal/opened.jsonl")
    if has_results:
        row = {"id": "a", "status": "succeeded", "attempts": 1, "task_id": "7", "cost_usd": "0.09"}
        text = json.dumps({"version": 1, "revision": 1, "items": [row]}).encode()
        storage.put(f"{lost}results.json", text, "application/json")
        proxy.before = hide_journal
    else:
        proxy.set("listing empty")
    with pytest.raises(StorageError, match="Runs that are paid may be missing"):
        service.recovery.recover(lost)
    assert not ledger.queries.recent_batches()


def test_nor_if_an_object_of_the_journal_is_listed_and_missing(
    proxy: QuirkyS3, service: Service, lost: str, ledger: Ledger
) -> None:
    hide(proxy, lambda request: is_get(request) and "/journal/" in request.path)
    with pytest.raises(StorageError, match="is listed with"):
        service.recovery.recover(lost)
    assert not ledger.queries.recent_batches()


@pytest.mark.parametrize("has_gone", [(is_head,), (is_head, is_get)])
def test_the_id_of_a_batch_that_redis_lost_is_not_free_because_s3_shows_no_manifest(
    has_gone: tuple[Callable[[Request], bool], ...],
    proxy: QuirkyS3,
    service: Service,
    lost: str,
    ledger: Ledger,
) -> None:
    hide(proxy, *has_gone)
    with pytest.raises(BatchOnlyOnS3, match="dailies recover"):
        submit(service)
    assert not ledger.queries.recent_batches()


def test_nor_if_only_the_conditional_write_finds_the_manifest_of_other_items(
    proxy: QuirkyS3, service: Service, lost: str, ledger: Ledger
) -> None:
    seen: set[str] = set()

    def before(request: Request) -> Response | None:
        """Hide what is there until the first write."""
        if request.method == "PUT":
            seen.add(request.path)
        if request.is_listing:
            request.with_query(prefix="/none/")
        return Response.error(404, "NoSuchKey") if request.is_object and not seen else None

    proxy.before = before
    with pytest.raises(BatchOnlyOnS3, match="dailies recover"):
        submit(service, b"looks up")
    assert not ledger.batches.is_accepted("b")


def test_a_403_does_not_make_an_id_free(proxy: QuirkyS3, service: Service, ledger: Ledger) -> None:
    proxy.set("missing is 403")
    with pytest.raises(StorageError, match="s3:ListBucket"):
        submit(service)
    assert not ledger.queries.recent_batches()


def test_an_image_that_a_head_does_not_find_is_used(proxy: QuirkyS3, service: Service, bucket: str) -> None:
    service.storage.put(f"{bucket}1.jpg", JPEG, "image/jpeg")
    hide(proxy, is_head)
    image = stored_image(service.storage, f"{bucket}1.jpg")
    assert (image.size, image.content_type) == (len(JPEG), "image/jpeg")
    with pytest.raises(StorageError, match="There is no image"):
        stored_image(service.storage, f"{bucket}2.jpg")
