"""The pages of the dashboard, against real servers."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import urllib3
from flask.testing import FlaskClient
from pydantic import SecretStr
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from support.access import BEARER, TOKEN
from support.images import PNG
from support.ledger_fixtures import COLLECTING, FAILED, RUNNING, SUCCEEDED, a_batch, dues, running, succeed

from pipeline.batches.job_queue import QUEUE, Job
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.domain.model import Review
from pipeline.ledger import redis_client
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.triggers.store import TriggerStore
from pipeline.web import create_app
from pipeline.web.dashboard.batch_page import PAGE_SIZE

HOSTILE = "<script>alert(1)</script>\"'& \u202e🎬 مرحبا"


@pytest.fixture
def client(redis_url: str, storage: Storage, bucket: str, tmp_path: Path) -> FlaskClient:
    settings = Settings(
        redis_url=redis_url,
        api_token=SecretStr(TOKEN),
        s3_endpoint=storage._endpoint,
        buckets=(bucket,),
        schedules=tmp_path / "schedules.yaml",
        triggers=tmp_path / "triggers.yaml",
    )
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


def page(client: FlaskClient, path: str, status: int = 200) -> str:
    response = client.get(path, headers={"Accept": "text/html"})
    assert response.status_code == status
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    return response.text


def item_ids(text: str) -> list[str]:
    return re.findall(r'data-item="([^"]+)"', text)


def shown_takes(text: str) -> dict[str, str]:
    """Return {first take: take that is shown} of the cards of a page."""
    return dict(re.findall(r'data-card="([^"]+)" [^>]*data-shown="([^"]+)"', text))


def load(ledger: Ledger, batch_id: str, **specs: dict[str, Any]) -> None:
    """Add items to a batch."""
    ledger.items.load(batch_id, ((name, {"image": None, "params": {}, **spec}, None) for name, spec in specs.items()))


def test_without_batches_the_page_explains_how_to_start_one(client: FlaskClient) -> None:
    text = page(client, "/")
    assert "No batches yet" in text
    assert "dailies submit" in text


def test_batches_are_listed_with_their_figures(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, "la-street", items=3)
    text = page(client, "/")
    assert "/batches/la-street" in text
    assert "0 of 3" in text


def test_a_paused_account_is_shown_with_its_reason(client: FlaskClient, ledger: Ledger) -> None:
    ledger.account.pause("Balance is <low>.")
    text = page(client, "/")
    assert "Nothing is submitted." in text
    assert "Balance is &lt;low&gt;." in text


def test_an_open_batch_shows_that_the_account_is_paused(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    ledger.account.pause("Balance is <low>.")
    for path in ("/batches/b", "/batches/b/live"):
        assert "Balance is &lt;low&gt;." in page(client, path)
    ledger.redis.hset("dailies:batch:b", "status", "succeeded")
    for path in ("/batches/b", "/batches/b/live"):
        assert "Balance" not in page(client, path)


def test_the_timeline_shows_when_runs_started_and_items_ended(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    assert "no events yet" in page(client, "/batches/b")
    running(ledger, 2)
    first, second = dues(ledger)
    ledger.runs.record_success(first, Decimal("0.09"))
    ledger.runs.end(first.run, first.lease, COLLECTING, SUCCEEDED, {})
    ledger.runs.end(second.run, second.lease, RUNNING, FAILED, {"error": "no"})
    ledger.items.cancel_pending("b", "by hand")
    text = page(client, "/batches/b/live")
    for event in ("started", "succeeded", "failed", "cancelled"):
        assert f'<span class="legend {event}">' in text
    titles = " ".join(re.findall(r"<title>[^<]+ UTC, 1 s: ([^<]+)</title>", text))
    assert "2 started" in titles
    assert "1 failed" in titles


def test_text_of_prompts_and_names_is_escaped_in_the_dashboard(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=0)
    load(ledger, "b", odd={"prompt": HOSTILE, "image": "javascript:alert(1)"})
    ledger.items.review("b", "odd", Review("rejected", HOSTILE))
    for path in ("/batches/b", "/batches/b/item-grid", "/batches/b/items/odd"):
        text = page(client, path)
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert 'href="javascript' not in text


def test_a_page_has_a_fixed_number_of_items_and_a_link_to_the_next(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=PAGE_SIZE + 2)
    first = page(client, "/batches/b")
    assert item_ids(first) == [f"i{n}" for n in range(PAGE_SIZE)]
    assert f'href="/batches/b?from={PAGE_SIZE}"' in first
    assert item_ids(page(client, f"/batches/b?from={PAGE_SIZE}")) == [f"i{PAGE_SIZE}", f"i{PAGE_SIZE + 1}"]


@pytest.mark.parametrize("path", ["/batches/{}", "/batches/{}/live"])
def test_a_page_of_a_large_batch_needs_no_more_redis_calls_than_of_a_small_one(
    client: FlaskClient, ledger: Ledger, path: str
) -> None:
    a_batch(ledger, "small", items=100)
    a_batch(ledger, "large", items=10_000)
    calls = []
    for batch_id in ("small", "large"):
        page(client, path.format(batch_id))  # Scripts are loaded, connections made.
        ledger.redis.config_resetstat()
        page(client, path.format(batch_id))
        stats = ledger.redis.info("commandstats")
        calls.append({name: stat["calls"] for name, stat in stats.items() if name != "cmdstat_config|resetstat"})
    assert calls[0] == calls[1]


def test_items_are_found_by_state_and_by_text(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=12)
    running(ledger, 3)
    assert item_ids(page(client, "/batches/b?state=running")) == ["i0", "i1", "i2"]
    assert item_ids(page(client, "/batches/b?find=P11")) == ["i11"]
    assert "No item matches" in page(client, "/batches/b?state=failed")


@pytest.mark.parametrize("query", ["?from=-1", "?from=x", "?from=99999999999", "?state=nonsense", "?find=" + "x" * 999])
def test_an_invalid_query_of_a_page_is_ignored(client: FlaskClient, ledger: Ledger, query: str) -> None:
    a_batch(ledger)
    page(client, f"/batches/b{query}")


def test_items_are_found_by_their_review(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    assert "to review" not in page(client, "/batches/b")
    running(ledger, 2)
    for due in dues(ledger):
        succeed(ledger, due)
    ledger.items.review("b", "i1", Review("approved"))
    assert item_ids(page(client, "/batches/b?mark=none")) == ["i0"]
    text = page(client, "/batches/b?mark=approved")
    assert item_ids(text) == ["i1"]
    assert "to review <b>1</b>" in text
    assert "approved <b>1</b>" in text
    ledger.items.review("b", "i0", Review("rejected"))
    assert "Every item has a review." in page(client, "/batches/b?mark=none")
    response = client.get("/api/v1/batches/b/items?review=rejected").json
    assert response
    assert [item["id"] for item in response["items"]] == ["i0"]


def test_another_take_lies_in_the_card_of_the_first_one(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=2, price_usd=Decimal("0.09"))
    running(ledger)
    output = {"uri": "s3://tests/b/items/i0/0.mp4", "content_type": "video/mp4", "size": 1, "sha256": "ab"}
    for due in dues(ledger):
        ledger.runs.record_success(due, Decimal("0.09"))
        ledger.runs.end(due.run, due.lease, COLLECTING, SUCCEEDED, {"outputs": [output]})
    ledger.items.add("b", "i0-take2", {"image": None, "prompt": "p", "params": {}, "take_of": "i0"})
    for path in ("/batches/b", "/batches/b/items/i0-take2"):
        text = page(client, path)
        assert item_ids(text)[:2] == ["i0", "i0-take2"]
        assert shown_takes(text)["i0"] == "i0-take2"
        assert "/batches/b/items/i0/outputs/0" in text
        assert "New take… $0.09" in text
    assert list(shown_takes(page(client, "/batches/b"))) == ["i0", "i1"]
    ledger.items.review("b", "i0", Review("approved"))
    assert shown_takes(page(client, "/batches/b"))["i0"] == "i0"
    # A filter shows the take that it found.
    assert shown_takes(page(client, "/batches/b?state=pending")) == {"i0": "i0-take2"}
    assert shown_takes(page(client, "/batches/b?mark=none")) == {"i1": "i1"}


def test_a_page_full_of_items_has_no_empty_page_after_it(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=PAGE_SIZE)
    ledger.items.add("b", "i0-take2", {"image": None, "prompt": "p", "params": {}, "take_of": "i0"})
    assert 'rel="next"' not in page(client, "/batches/b")


def test_files_are_redirected_to_presigned_urls(
    client: FlaskClient, ledger: Ledger, storage: Storage, bucket: str
) -> None:
    uri = f"{bucket}items/i0/0.png"
    storage.put(uri, PNG, "image/png")
    a_batch(ledger, items=0)
    load(ledger, "b", i0={"prompt": "p", "image": uri})
    response = client.get("/batches/b/items/i0/image")
    assert response.status_code == 302
    assert urllib3.request("GET", response.headers["Location"]).data == PNG
    assert "Signature" not in page(client, "/batches/b")


@pytest.mark.parametrize(
    "path",
    [
        "/batches/missing",
        "/batches/b/items/missing",
        "/batches/b/items/i0/image",
        "/batches/b/items/i0/outputs/0",
        "/batches/b/files/secrets.txt",
    ],
)
def test_a_missing_resource_is_an_error_page(client: FlaskClient, ledger: Ledger, path: str) -> None:
    a_batch(ledger, items=1)
    assert "Back to the batches" in page(client, path, 404)


def test_pages_need_a_token(redis_url: str) -> None:
    client = create_app(Settings(redis_url=redis_url, api_token=SecretStr(TOKEN))).test_client()
    for path in ("/", "/new", "/batches/b", "/batches/b/items/i0/image"):
        response = client.get(path, headers={"Accept": "text/html"})
        assert (response.status_code, response.headers["Location"].partition("?")[0]) == (303, "/login")


def test_a_dead_letter_is_shown_run_again_and_deleted(client: FlaskClient, redis_url: str) -> None:
    queue = Queue(QUEUE, connection=redis_client.connect(redis_url, decode=False), serializer=JSONSerializer)
    job = queue.enqueue(Job.COLLECT.value)
    queue.remove(job)
    queue.failed_job_registry.add(job, ttl=60)
    assert "Delete collect" in page(client, "/")
    queue_monitor = QueueMonitor(redis_url)
    assert client.post(f"/dead-letters/{job.id}/again").status_code == 303
    assert (queue_monitor.figures().failed, queue_monitor.figures().waiting) == (0, 1)
    queue.failed_job_registry.add(job, ttl=60)
    assert client.post(f"/dead-letters/{job.id}/forget").status_code == 303
    assert queue_monitor.figures().failed == 0
    assert client.post("/dead-letters/missing/again").status_code == 303


def test_a_worker_whose_job_has_just_ended_is_still_shown(client: FlaskClient, redis_url: str) -> None:
    queue = Queue(QUEUE, connection=redis_client.connect(redis_url, decode=False), serializer=JSONSerializer)
    worker = SimpleWorker([queue], name="the-worker", connection=queue.connection, serializer=JSONSerializer)
    worker.register_birth()  # type: ignore[no-untyped-call]  # as RQ has it
    job = queue.enqueue(Job.COLLECT.value)
    worker.prepare_execution(job)
    assert [row.job for row in QueueMonitor(redis_url).workers()] == ["collect"]
    queue.connection.delete(job.key)
    assert "the-worker" in page(client, "/")


def test_the_form_of_a_new_batch_warns_if_no_output_location_is_set(client: FlaskClient) -> None:
    assert "PIPELINE_OUTPUT" in page(client, "/new")


def test_a_failed_item_shows_its_error_and_can_be_retried(client: FlaskClient, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    for due in dues(ledger):
        ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": "No person <in> the image."})
    text = page(client, "/batches/b")
    assert "No person &lt;in&gt; the image." in text
    assert 'data-action="retry"' in text


def test_schedules_are_shown_paused_and_resumed(client: FlaskClient, tmp_path: Path) -> None:
    assert "start batches by the clock" in page(client, "/")
    (tmp_path / "schedules.yaml").write_text(
        "schedules: [{name: nightly, cron: '0 2 * * *', timezone: Europe/Berlin, manifest: nightly.yaml}]"
    )
    text = page(client, "/")
    assert "nightly" in text
    assert re.search(r"Next \w{3} \d{4}-\d\d-\d\d 02:00 CES?T", text)
    assert client.post("/schedules/nightly/pause").status_code == 303
    assert "Resume nightly" in page(client, "/")
    assert client.post("/schedules/nightly/resume").status_code == 303
    assert "Pause nightly" in page(client, "/")
    assert client.post("/schedules/missing/pause").status_code == 404
    assert client.post("/schedules/nightly/dance").status_code == 404


def test_an_invalid_schedules_file_is_shown(client: FlaskClient, tmp_path: Path) -> None:
    (tmp_path / "schedules.yaml").write_text("schedules: [{name: nightly}]")
    assert "schedules.yaml:1:" in page(client, "/")


def test_triggers_are_shown_with_their_latest_batch(client: FlaskClient, tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "triggers.yaml").write_text(
        "triggers: [{name: inbox, source: listing, watch: 's3://bucket/inbox/', start: manifest, every_s: 10}]"
    )
    assert "lists every 10 s. No batch yet." in page(client, "/")
    TriggerStore.connect(redis_url).record_last_batch("inbox", "inbox-0123456789ab")
    assert "/batches/inbox-0123456789ab" in page(client, "/")
