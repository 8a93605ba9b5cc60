"""A batch from the manifest to its review and recovery, on S3 servers that differ. The jobs run in this process."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from structlog.testing import capture_logs
from support.finished_batch import videos, with_outputs
from support.quirky_s3 import QuirkyS3, Request, Response
from support.waiting import WaitFor

from jobs.collect import collect
from jobs.context import context
from jobs.finish import finish
from jobs.start import start
from jobs.submit import submit
from jobs.sweep import sweep
from jobs.worker_slots import wait_for_all
from pipeline.batches.service import Service
from pipeline.domain.model import Review
from pipeline.ledger.ledger import Ledger
from pipeline.manifest import parser as manifests
from pipeline.sandbox.process_handle import Sandbox
from pipeline.settings import load
from pipeline.storage.s3 import Storage

ITEMS = ("a", "b", "c")


@pytest.fixture
def service(
    redis_url: str, storage: Storage, proxy: QuirkyS3, bucket: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """The service of this process, which is a worker, too. Its S3 server is behind the proxy."""
    environment = {
        **sandbox.environment,
        "REDIS_URL": redis_url,
        "AWS_ENDPOINT_URL_S3": proxy.url,
        "PIPELINE_OUTPUT": bucket,
        "PIPELINE_POLL_AFTER_S": "1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    context.cache_clear()
    proxy.set("")
    storage.put(f"{bucket}face.jpg", Path("config/samples/portrait.jpg").read_bytes(), "image/jpeg")
    yield Service.connect(load())
    context.cache_clear()


@pytest.fixture
def run_to_end(service: Service, ledger: Ledger, bucket: str, wait_for: WaitFor) -> Callable[[], None]:
    """Submit a batch and run the jobs of workers until all its items have ended."""

    def no_rows(reference: str) -> bytes:
        raise AssertionError(reference)

    def holds() -> bool:
        for job in (sweep, submit, collect):
            job()
        wait_for_all()
        return ledger.batches.has_ended("b")

    def run() -> None:
        items = [{"id": item, "image": f"{bucket}face.jpg", "prompt": f"prompt {item}"} for item in ITEMS]
        text = json.dumps({"version": 1, "name": "b", "items": items}).encode()
        manifest = manifests.parse(text, file="m", read_rows=no_rows, local_files=None)
        service.submission.submit(manifest, "b", trigger="test", folder=None)
        start("b")
        wait_for(holds, "the items to end")

    return run


def results(storage: Storage, bucket: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(storage.get(f"{bucket}b/results.json") or b"{}")
    return document


@pytest.mark.parametrize(
    "quirks",
    [
        ("no Content-Length", "unquoted ETags", "If-Match: 501", "If-None-Match: 501", "listing of version 1"),
        ("weak ETags that match nothing", "Range ignored", "listing without a token", "errors without a body"),
    ],
)
def test_a_batch_ends_with_its_review_and_can_be_recovered(
    quirks: tuple[str, ...],
    proxy: QuirkyS3,
    service: Service,
    run_to_end: Callable[[], None],
    ledger: Ledger,
    storage: Storage,
    sandbox: Sandbox,
    bucket: str,
    redis_url: str,
) -> None:
    proxy.set(*quirks)
    run_to_end()
    finish("b")
    assert results(storage, bucket)["counts"] == {"succeeded": len(ITEMS)}

    service.reviews.review("b", "a", Review("approved", "the smile"))
    finish("b")
    document = results(storage, bucket)
    assert document["revision"] == 2
    assert document["items"][0]["review"] == {"mark": "approved", "note": "the smile"}

    service.journal.flush()
    with Redis.from_url(redis_url) as client:
        client.flushall()
    context.cache_clear()
    service.recovery.recover(f"{bucket}b/")
    assert dict(ledger.batches.get("b").counts) == {"succeeded": len(ITEMS)}
    assert ledger.items.get("b", "a").review == Review("approved", "the smile")
    assert Counter(task["prompt"] for task in sandbox.tasks()) == Counter(f"prompt {item}" for item in ITEMS)


def test_a_conditional_write_that_fails_once_is_repeated_and_the_review_is_kept(
    proxy: QuirkyS3,
    service: Service,
    ledger: Ledger,
    storage: Storage,
    bucket: str,
) -> None:
    with_outputs(ledger, storage, bucket, videos(*ITEMS))
    finish("b")
    service.reviews.review("b", "b", Review("rejected", "blurred"))
    written: list[str] = []

    def someone_writes(request: Request) -> Response | None:
        """Another writer is a moment faster."""
        if "if-match" in request.headers and not written:
            written.append(request.path)
            storage.put(f"{bucket}b/results.json", b'{"version":1,"revision":1,"items":[]}', "application/json")
        return None

    proxy.before = someone_writes
    finish("b")
    assert written
    document = results(storage, bucket)
    assert document["revision"] == 2
    assert document["items"][1]["review"] == {"mark": "rejected", "note": "blurred"}


@pytest.mark.parametrize(
    ("name", "event"), [("results.json", "results_not_written"), ("index.html", "gallery_not_written")]
)
def test_a_conditional_write_that_always_fails_is_logged_and_the_batch_stays_open(
    name: str, event: str, proxy: QuirkyS3, service: Service, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    with_outputs(ledger, storage, bucket, videos(*ITEMS))
    numbers = count()

    def always_faster(request: Request) -> Response | None:
        if request.path.endswith(f"/{name}") and request.method == "PUT":
            storage.put(f"{bucket}b/{name}", b"%d" % next(numbers), "application/json")
            return Response.error(412, "PreconditionFailed")
        return None

    proxy.before = always_faster
    with capture_logs() as events:
        finish("b")
    error = next(found["error"] for found in events if found["event"] == event)
    assert f"{name} changed during each of 3 writes" in error
    assert ledger.batches.get("b").finished is None


def test_an_image_without_a_stated_size_costs_nothing_and_its_item_is_not_unknown(
    proxy: QuirkyS3, run_to_end: Callable[[], None], ledger: Ledger, sandbox: Sandbox
) -> None:
    def without_sizes(request: Request, response: Response) -> Response:
        if request.path.partition("?")[0].endswith("face.jpg"):
            response.headers.pop("content-range", None)
            response.has_length = False
        return response

    proxy.after = without_sizes
    run_to_end()
    assert dict(ledger.batches.get("b").counts) == {"failed": len(ITEMS)}
    assert "no Content-Length" in (ledger.items.get("b", "a").error or "")
    assert sandbox.stats()["runs"] == 0
