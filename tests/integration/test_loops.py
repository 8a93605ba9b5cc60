"""Every loop over keys, rows, items and batches in the ledger and in jobs: one bad member, and the others go on.

LOOPS is the list of them; `test_event_loops.py` has those of triggers, schedules and callbacks.
`test_damaged_records.py` has further kinds of damage for the queues of the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError
from rq import Queue, Worker
from rq.job import JobStatus
from rq.serializers import JSONSerializer
from structlog.testing import capture_logs
from support.ended_batch import an_ended_batch
from support.inbox import Inbox
from support.ledger_fixtures import a_batch, claims, counts, dues, running
from support.loop_servers import Servers
from support.schedule_folder import ScheduleFolder

from jobs import archive_batches, deliver_notifications, find_lost_runs, make_previews, start, sweep, write_status_files
from pipeline.batches import retention, reuse_index
from pipeline.batches.job_queue import QUEUE
from pipeline.batches.output_zip import zip_entries, zip_pieces
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.batches.retention import Retention
from pipeline.domain.callback_tokens import RunId
from pipeline.domain.model import Review
from pipeline.domain.results import as_jsonl
from pipeline.domain.states import BatchState
from pipeline.ledger.keys import PREFIX, batch_key, item_key
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import LostRun
from pipeline.ledger.set_aside import set_aside
from pipeline.triggers.dispatch import EventOutcome
from pipeline.web.metrics import _Snapshot

# The ledger


def claim_batches(on: Servers) -> None:
    """claim_pending.lua: batches, also one that has no slot."""
    for batch_id in ("a", "b"):
        a_batch(on.ledger, batch_id)
    on.ledger.batches.pause("a")
    on.wrong_type(f"{batch_key('a')}:pending")
    assert {claim.run.batch for claim in claims(on.ledger)} == {"b"}
    assert on.is_named("a")


def sum_reservations(on: Servers) -> None:
    """_account.lua: the reservations of active runs, for the ceiling of the day."""
    a_batch(on.ledger, items=3, price_usd=Decimal("0.1"))
    claims(on.ledger, 1)
    on.wrong_type(item_key("b", "i0"))
    claimed = on.ledger.runs.claim_pending(9, lease_s=60, max_active=0, max_day_usd=Decimal(5)).runs
    assert {claim.run.item for claim in claimed} == {"i1", "i2"}


def renew_leases(on: Servers) -> None:
    """renew_leases.lua: the leases of a worker."""
    a_batch(on.ledger)
    held = [(claim.run, claim.lease) for claim in claims(on.ledger)]
    on.wrong_type(item_key("b", "i1"))
    assert on.ledger.runs.renew(held, lease_s=60) == [True, False, True]


def mark_posting(on: Servers) -> None:
    """mark_posting.lua: runs that are about to be posted."""
    a_batch(on.ledger)
    claimed = claims(on.ledger)
    on.wrong_type(item_key("b", "i1"))
    assert [claim.run.item for claim in on.ledger.runs.mark_posting(claimed)] == ["i0", "i2"]


def record_searches(on: Servers) -> None:
    """record_search.lua: lost runs that are not in the list of tasks."""
    a_batch(on.ledger)
    for claim in on.ledger.runs.mark_posting(claims(on.ledger)):
        assert on.ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    on.wrong_type(item_key("b", "i0"))
    on.ledger.lost_runs.record_search([RunId("b", f"i{n}", 1) for n in range(3)])
    on.ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="resubmit")
    assert counts(on.ledger)["pending"] == 2


def claim_previews(on: Servers) -> None:
    """claim_preview.lua: requests for previews."""
    for batch_id in ("a", "b"):
        a_batch(on.ledger, batch_id)
        on.ledger.previews.request(batch_id, ["i0"])
    on.wrong_type(f"{batch_key('a')}:previews")
    request = on.ledger.previews.claim(lease_s=60)
    assert request
    assert request.batch_id == "b"
    assert on.is_named("a i0")


def review_items(on: Servers) -> None:
    """review_item.lua: reviews, one of which is damaged."""
    a_batch(on.ledger)
    on.redis.hset(f"{batch_key('b')}:reviews", "i0", "{")
    for item in ("i0", "i1"):
        assert on.ledger.items.review("b", item, Review("approved", "")) is not None
    assert {row.id for row in on.ledger.items.stream("b") if row.review} == {"i0", "i1"}


def poll_runs(on: Servers) -> None:
    """claim_due.lua: runs to poll."""
    a_batch(on.ledger)
    running(on.ledger)
    on.wrong_type(item_key("b", "i0"))
    assert {due.run.item for due in dues(on.ledger)} == {"i1", "i2"}
    assert on.is_named("b i0")


def read_counters(on: Servers) -> None:
    """counters.py and metrics.py: the fields of the counters, the days, the batches."""
    a_batch(on.ledger)
    on.redis.hset(f"{PREFIX}figures", mapping={"retried": "many", "refused": 7})
    on.redis.hset(f"{PREFIX}spend", mapping={"1": "x", "2": 10**12})
    on.redis.zadd(f"{PREFIX}open", {"bad": 0})
    on.redis.hset(batch_key("bad"), "n:pending", "x")
    read = on.ledger.counters.read()
    assert (read.retried, read.refused, read.spend_usd, read.items["pending"]) == (0, 7, Decimal(1), 3)
    queue = SimpleNamespace(waiting=0, oldest_s=0, delayed=0, failed=0, workers=0)
    assert list(_Snapshot(read, on.ledger.account.get(), cast(Any, queue)).collect())


def read_days(on: Servers) -> None:
    """account.py: the days of the spend on the home page."""
    on.ledger.account.add_spend(Decimal(2))
    today = on.ledger.account.spend(1)[0][0]
    on.redis.hset(f"{PREFIX}spend", str((today - datetime(1970, 1, 1, tzinfo=UTC).date()).days - 1), "x")
    assert [usd for _, usd in on.ledger.account.spend(2)] == [0, 2]


def read_causes(on: Servers) -> None:
    """queries.py: the causes of failures."""
    on.redis.hset(f"{batch_key('b')}:causes", mapping={"bad": "x", "good": 2})
    assert on.ledger.queries.failure_causes("b") == {"bad": 0, "good": 2}


def read_timeline(on: Servers) -> None:
    """timeline.py: the slices of a batch."""
    on.redis.hset(
        f"{batch_key('b')}:life", mapping={"started:0": 2, "failed:x": 1, "failed:99999999": 1, "succeeded:1": "y"}
    )
    read = on.ledger.timeline.read("b", 5)
    assert sum(slice_["started"] for slice_ in read.slices) == 2
    assert len(read.slices) < 200


def read_prices(on: Servers) -> None:
    """items.py: the prices of items on a page."""
    a_batch(on.ledger)
    on.redis.hset(f"{batch_key('b')}:prices", mapping={"i0": "x", "i1": 10**12})
    assert on.ledger.items.prices("b", ["i0", "i1"]) == {"i0": None, "i1": 1}


def read_set_aside(on: Servers) -> None:
    """set_aside.py: the records themselves."""
    set_aside(on.ledger.scripts, f"{PREFIX}due", "good", "why")
    on.redis.lpush(f"{PREFIX}set_aside", "{")
    assert on.is_named("good")


def write_rows(on: Servers) -> None:
    """results.jsonl, gallery, archive, pull, `items`: the items of a batch."""
    a_batch(on.ledger)
    on.redis.hset(f"{batch_key('b')}:specs", "i1", "{")
    on.redis.hset(f"{batch_key('b')}:reviews", "i2", "{")
    rows = list(on.ledger.items.stream("b"))
    lines = b"".join(as_jsonl(rows)).splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["i0", "i1", "i2"]
    assert rows[0].prompt == "p0"
    assert list(
        zip_pieces(on.service.storage, on.ledger.batches.get("b"), zip_entries(on.ledger.batches.get("b"), rows))
    )


# Jobs


def sweep_batches(on: Servers) -> None:
    """sweep.py: open batches."""
    on.context(sweep)
    for batch_id in ("a", "b"):
        a_batch(on.ledger, batch_id)
        on.ledger.batches.set_status(batch_id, BatchState.CANCELLING, among=[BatchState.RUNNING])
    on.wrong_type(batch_key("a"))
    on.redis.zadd(f"{PREFIX}open", {"gone": 0})
    sweep.sweep()
    assert counts(on.ledger) == {"cancelled": 3}
    assert on.is_named("gone")


def pause_a_model(on: Servers) -> None:
    """control.py: the batches of a model."""
    for batch_id in ("a", "b"):
        a_batch(on.ledger, batch_id)
    on.wrong_type(batch_key("a"))
    assert on.service.control.pause_model(on.ledger.batches.get("b").model, "no") == ["b"]


def search_lost_runs(on: Servers) -> None:
    """find_lost_runs.py: lost runs as they were sent."""
    ctx = on.context()
    for batch_id in ("a", "b"):
        a_batch(on.ledger, batch_id)
    on.wrong_type(f"{batch_key('a')}:uploads")
    runs = [LostRun(RunId(one, "i0", 1), datetime.now(UTC), "s3://b/1.jpg", "p", {}) for one in ("a", "b")]
    assert [sent.run.batch for sent in find_lost_runs.sent_runs(ctx, runs)] == ["b"]


def deliver(on: Servers) -> None:
    """deliver_notifications.py: notifications that are due."""
    on.context(deliver_notifications)
    sent: list[str] = []
    sender = SimpleNamespace(send=lambda url, row, results: sent.append(row.id))
    on.patch.setattr(deliver_notifications, "_sender", lambda: sender)
    for batch_id in ("a", "b"):
        a_batch(on.ledger, batch_id)
        on.redis.hset(batch_key(batch_id), mapping={"notice": 1, "notice_tries": 0, "status": "failed", "finished": 1})
        plan = json.loads(on.redis.hget(batch_key(batch_id), "plan"))
        on.redis.hset(batch_key(batch_id), "plan", json.dumps({**plan, "notify": "https://e.com/"}))
        on.redis.zadd(f"{PREFIX}notices", {batch_id: 1})
    on.redis.hset(batch_key("a"), "total", "x")
    deliver_notifications.deliver_notifications()
    assert sent == ["b"]


def upload_shared_images(on: Servers) -> None:
    """start.py: images that several items share."""
    ctx = on.context()
    a_batch(on.ledger)
    good, bad = (f"{on.service.settings.output}{name}.jpg" for name in ("good", "bad"))
    on.ledger.shared_images.add("b", [bad, good])
    wiro = SimpleNamespace(create_folder=lambda name: "f", upload=lambda image, folder: f"https://v/{image}")
    on.patch.setattr(start, "stored_image", lambda storage, image: image)
    on.failing_for(wiro, "upload", bad, KeyError("bad"))
    start._upload_shared_images(replace(ctx, wiro=cast(Any, wiro)), "b")
    assert on.ledger.shared_images.urls("b") == {bad: "", good: f"https://v/{good}"}


def serve_previews(on: Servers) -> None:
    """make_previews.py: requests for previews."""
    ctx = on.context()
    done: list[str] = []
    for batch_id in ("a", "b"):
        a_batch(on.ledger, batch_id)
        on.ledger.previews.request(batch_id, ["i0"])
    on.patch.setattr(make_previews, "_make", lambda ctx, maker, batch, item: done.append(batch.id))
    on.failing_for(make_previews, "_make", "id='a'")
    make_previews.serve_requests(ctx, cast(Any, None))
    assert done == ["b"]


def status_files(on: Servers) -> None:
    """write_status_files.py and store.py: the objects of a batch."""
    on.context(write_status_files)
    batch_id = _triggered(on, "1.yaml")
    on.redis.hset(f"{batch_key(batch_id)}:drops", "bad", "{")
    on.redis.hset(batch_key(batch_id), mapping={"status": "failed", "finished": 1})
    write_status_files.write_status_files(batch_id)
    assert on.inbox.status("1.yaml")["batch_status"] == "failed"
    assert on.is_named("bad")


def _triggered(on: Servers, name: str) -> str:
    assert on.inbox.handle(on.inbox.put(name)) is EventOutcome.STARTED
    (batch_id,) = on.inbox.batches()
    return batch_id


def workers_and_failed_jobs(on: Servers) -> None:
    """queue_monitor.py: workers and failed jobs, on the home page and in `doctor`."""
    monitor = QueueMonitor(on.service.settings.redis_url)
    queue = Queue(QUEUE, connection=monitor._redis, serializer=JSONSerializer)
    job = queue.create_job("jobs.sweep.sweep", status=JobStatus.FAILED)
    job.save()
    Worker([queue], connection=monitor._redis, name="good").register_birth()  # type: ignore[no-untyped-call]
    on.redis.zadd("rq:failed:dailies", {"bad": 9e9, job.id: 9e9})
    on.wrong_type("rq:job:bad")
    on.redis.sadd("rq:workers:dailies", "rq:worker:bad")
    on.wrong_type("rq:worker:bad")
    assert [failed.id for failed in monitor.failed_jobs()] == [job.id]
    assert [worker.name for worker in monitor.workers()] == ["good"]


def archive_ended_batches(on: Servers) -> None:
    """archive_batches.py and retention.py: batches that ended long ago."""
    kept = Retention(on.ledger, on.service.storage, keep_days=1e-9)
    ctx = replace(on.context(), service=replace(on.service, retention=kept))
    on.patch.setattr(archive_batches, "context", lambda: ctx)
    for batch_id in ("a", "b"):
        an_ended_batch(on.service, batch_id)
    on.failing_for(retention, "check_results", "id='a'")
    on.wrong_type("dailies:spend")
    with capture_logs() as logs, pytest.raises(ResponseError, match="WRONGTYPE"):
        archive_batches.archive_batches()
    on.redis.delete("dailies:spend")
    assert [(row.id, bool(row.archived)) for row in map(on.ledger.batches.get, "ab")] == [("a", False), ("b", True)]
    assert [entry["batch"] for entry in logs if entry["event"] == "batch_archiving_crashed"] == ["a"]
    assert on.ledger.counters.read().not_archived == 1, "it is deferred"


def rebuild_the_index(on: Servers) -> None:
    """reuse_index.py: the folders of batches."""
    for batch_id in ("a", "b"):
        on.service.storage.put(f"{on.service.settings.output}{batch_id}/results.jsonl", b"", "application/x-ndjson")
    on.failing_for(reuse_index._Reindex, "_add_batch", "/a/", RuntimeError("bad"))
    report = reuse_index.reindex(on.service.storage, on.ledger, on.service.settings.output)
    assert (report.batches, report.damaged) == (1, {"a": "RuntimeError: bad"})


LOOPS: list[Callable[[Servers], None]] = [
    claim_batches, sum_reservations, renew_leases, mark_posting, record_searches, claim_previews, poll_runs,
    review_items, read_counters, read_days, read_causes, read_timeline, read_prices, read_set_aside, write_rows,
    sweep_batches, pause_a_model, search_lost_runs, deliver, upload_shared_images, serve_previews, status_files,
    workers_and_failed_jobs, archive_ended_batches, rebuild_the_index,
]  # fmt: skip


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_one_bad_member_stops_no_other(
    inbox: Inbox, schedule_folder: ScheduleFolder, monkeypatch: pytest.MonkeyPatch, loop: Callable[[Servers], None]
) -> None:
    loop(Servers(inbox, schedule_folder, monkeypatch))


def test_status_of_a_batch_names_what_was_set_aside(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.cli.descriptions import print_batch
    from pipeline.cli.terminal import console

    a_batch(ledger)
    running(ledger)
    ledger.redis.delete(item_key("b", "i0"))
    dues(ledger)
    set_aside(ledger.scripts, f"{PREFIX}due", "bb i9", "another batch")
    print_batch(console(), ledger, ledger.batches.get("b"))
    text = " ".join(capsys.readouterr().out.split())
    assert "1 record of this batch could not be read and was set aside: 'b i0'" in text
    assert "i9" not in text
