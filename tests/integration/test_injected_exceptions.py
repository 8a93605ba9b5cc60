"""An unforeseen exception, once, at every boundary of the jobs: each batch ends, and nothing is bought twice.

One item of each batch reuses an output, and the batch before it leaves Redis.

The boundaries are the public methods of the stores and clients that the jobs call, as a run without faults shows them:
a new method is covered without a change here. The exception is raised before the method has done its work, or after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.images import a_jpeg
from support.job_loop import PRICE, Downloads, JobLoop, Sender, Vendor
from support.manifests import parse_manifest

from jobs import worker_slots
from pipeline.batches.control import BatchControl
from pipeline.batches.job_queue import Job, JobQueue
from pipeline.batches.model_catalog import ModelCatalog
from pipeline.batches.preview_requests import PreviewRequests
from pipeline.batches.submission import Submission
from pipeline.domain.states import BatchState, ItemState
from pipeline.ledger.keys import batch_key
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.lost_runs import LostRunStore
from pipeline.ledger.retention import RetentionStore
from pipeline.ledger.reusable import ReusableStore
from pipeline.schedules.store import ScheduleStore
from pipeline.schedules.submission import ScheduleSubmission
from pipeline.storage.journal import Journal
from pipeline.storage.s3 import Storage, split
from pipeline.triggers.object_version import ObjectVersion
from pipeline.triggers.status_files import StatusFiles
from pipeline.triggers.store import TriggerStore

OTHERS = (
    Storage, Journal, JobQueue, BatchControl, PreviewRequests, Submission, ModelCatalog, ScheduleStore,
    ScheduleSubmission, TriggerStore, StatusFiles, Vendor, Downloads, Sender,
)  # fmt: skip
GROUPS = 6
"""The boundaries raise in groups, one group for each batch: a batch for each boundary takes two minutes."""
Method = tuple[type, str]
_numbers = count()


class Odd(KeyError):
    """An exception that no code expects."""


@pytest.fixture
def loop(
    redis_url: str, storage: Storage, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JobLoop]:
    monkeypatch.setattr(worker_slots, "DRAIN_WAIT_S", 5)
    # Tracebacks take longer to print than the jobs take.
    with capture_logs():
        loop = JobLoop(redis_url, storage, bucket, tmp_path, monkeypatch)
        loop.vendor.lost = {"two"}
        loop.schedule("nightly")
        # It stays in Redis, and so does the output that the items `reused` of all others get.
        text = "version: 1\nname: m\nitems: [{id: bought, prompt: d}]\n"
        loop.service.submission.submit(parse_manifest(text), "kept", trigger="test", folder=None)
        loop.run("kept", a_batch(loop, bucket))
        yield loop
        worker_slots.wait_for_all()


def boundaries(ledger: Ledger) -> Iterator[Method]:
    """Yield every public method of the stores and clients."""
    stores = [type(store) for name, store in vars(ledger).items() if name not in ("redis", "scripts")]
    for kind in (*stores, *OTHERS):
        for name, value in vars(kind).items():
            if not name.startswith("_") and callable(value) and not isinstance(value, staticmethod | classmethod):
                yield kind, name


def wrap(monkeypatch: pytest.MonkeyPatch, method: Method, around: Callable[..., Any]) -> None:
    kind, name = method
    original = getattr(kind, name)

    @wraps(original)
    def wrapped(*args: Any, **options: Any) -> Any:
        return around(lambda: original(*args, **options))

    monkeypatch.setattr(kind, name, wrapped)


def a_batch(loop: JobLoop, bucket: str) -> str:
    """Submit four items: two share an image on S3, one has one of its own, one was bought before.

    There is a budget and a notification. An object on S3 has started the batch.
    """
    batch_id = f"b{next(_numbers)}"
    for number in (1, 2):
        uri = f"{bucket}images/{number}.jpg"
        loop.service.storage.put(uri, a_jpeg(number), "image/jpeg")
    text = f"""\
version: 1
name: m
limits: {{budget_usd: 5, attempts: 3}}
reuse: true
notify: https://example.com/hook
items:
  - {{id: one, image: {bucket}images/1.jpg, prompt: a {batch_id}}}
  - {{id: two, image: {bucket}images/1.jpg, prompt: b {batch_id}}}
  - {{id: three, image: {bucket}images/2.jpg, prompt: c {batch_id}}}
  - {{id: reused, prompt: d}}
"""
    objects = [ObjectVersion(*split(dropped(bucket, batch_id)), "1")]
    TriggerStore.connect(loop.service.settings.redis_url).record_objects(batch_id, objects)
    loop.service.submission.submit(parse_manifest(text), batch_id, trigger="trigger:inbox", folder=None)
    return batch_id


def dropped(bucket: str, batch_id: str) -> str:
    """Return the object that started a batch."""
    return f"{bucket}inbox/{batch_id}.yaml"


def called_methods(loop: JobLoop, bucket: str) -> list[Method]:
    """Return the boundaries that the jobs of a batch call."""
    calls: dict[Method, None] = {}

    def recorder(method: Method) -> Callable[..., Any]:
        def around(call: Callable[[], Any]) -> Any:
            if loop.is_working:
                calls[method] = None
            return call()

        return around

    with pytest.MonkeyPatch.context() as patch:
        for method in boundaries(loop.ledger):
            wrap(patch, method, recorder(method))
        check(loop, a_batch(loop, bucket), bucket, "without a fault")
    return list(calls)


def check(loop: JobLoop, batch_id: str, bucket: str, what: str) -> None:
    """Run a batch, and one that a schedule starts, to their ends. Check that each item succeeded and was bought once.

    The response to one run is lost, and its task is in the vendor's list. The batch before it ended long ago.
    """
    before = f"b{int(batch_id[1:]) - 1}"
    loop.ledger.redis.hset(batch_key(before), "finished", 1)
    nightly = f"nightly-{loop.midnight():%Y%m%dT%H%MZ}"
    row, by_clock = loop.run(batch_id, nightly)
    assert (row.status, dict(row.counts)) == (BatchState.SUCCEEDED, {ItemState.SUCCEEDED: 4}), what
    assert by_clock.status == BatchState.SUCCEEDED, what
    assert sorted(loop.posts(batch_id)) == ["one", "three", "two"], what
    assert loop.posts(nightly) == ["one"], what
    assert row.cost_usd == 3 * PRICE, what
    assert loop.service.storage.info(f"{row.output}results.json"), what
    status_file = loop.service.storage.get(f"{dropped(bucket, batch_id)}.status.json")
    assert json.loads(status_file or b"{}").get("batch_status") == "succeeded", what
    assert loop.ledger.account.get().active == 0, what
    archived = loop.archive(before)
    assert {item.status for item in loop.service.items.stream(archived)} == {ItemState.SUCCEEDED}, what


def inject(loop: JobLoop, bucket: str, methods: list[Method], *, after: bool) -> None:
    """Let the first call of each method raise, before or after it has done its work."""

    def fault() -> Callable[..., Any]:
        numbers = count()

        def around(call: Callable[[], Any]) -> Any:
            if not loop.is_working or next(numbers):
                return call()
            if after:
                call()
            raise Odd("injected")

        return around

    with pytest.MonkeyPatch.context() as patch:
        batch_id = a_batch(loop, bucket)
        for method in methods:
            wrap(patch, method, fault())
        check(loop, batch_id, bucket, ", ".join(f"{kind.__name__}.{name}" for kind, name in methods))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_exception_at_any_boundary_loses_and_buys_nothing(loop: JobLoop, bucket: str, after: bool) -> None:
    # An exception of `run` means that the vendor has not accepted the run; test_post_exceptions.py is about it.
    methods = [method for method in called_methods(loop, bucket) if not (after and method == (Vendor, "run"))]
    assert loop.jobs_run >= set(Job)
    kinds = {kind for kind, _ in methods}
    assert {LostRunStore, RetentionStore, ReusableStore, ScheduleStore, ScheduleSubmission, TriggerStore} <= kinds
    assert StatusFiles in kinds
    for group in range(GROUPS):
        inject(loop, bucket, methods[group::GROUPS], after=after)
