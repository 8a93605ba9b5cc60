"""The home page of the dashboard: batches, account, workers, schedules and triggers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from support.access import BEARER, TOKEN
from support.dashboard import dashboard_client, page
from support.ledger_fixtures import a_batch

from pipeline.batches.job_queue import PREVIEWS_QUEUE, QUEUE, Job
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.ledger import redis_client
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.triggers.store import TriggerStore
from pipeline.web import create_app


@pytest.fixture
def client(redis_url: str, storage: Storage, bucket: str, tmp_path: Path) -> FlaskClient:
    return dashboard_client(redis_url, storage, bucket, tmp_path)


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


def test_pages_need_a_token(redis_url: str) -> None:
    client = create_app(Settings(redis_url=redis_url, api_token=SecretStr(TOKEN))).test_client()
    for path in ("/", "/new", "/batches/b", "/batches/b/items/i0/image"):
        response = client.get(path, headers={"Accept": "text/html"})
        assert (response.status_code, response.headers["Location"].partition("?")[0]) == (303, "/login")


@pytest.mark.parametrize(("name", "enqueued"), [(QUEUE, Job.COLLECT), (PREVIEWS_QUEUE, Job.MAKE_PREVIEWS)])
def test_a_failed_background_job_is_shown_run_again_and_deleted(
    client: FlaskClient, redis_url: str, name: str, enqueued: Job
) -> None:
    queue = Queue(name, connection=redis_client.connect(redis_url, decode=False), serializer=JSONSerializer)
    job = queue.enqueue(enqueued.value)
    queue.remove(job)
    queue.failed_job_registry.add(job, ttl=60)
    text = page(client, "/")
    assert "Failed background jobs" in text
    assert f"Delete {enqueued.value.rpartition('.')[2]}" in text
    queue_monitor = QueueMonitor(redis_url)
    assert client.post(f"/failed-jobs/{job.id}/again").status_code == 303
    assert (queue_monitor.figures().failed, queue.count) == (0, 1)
    queue.failed_job_registry.add(job, ttl=60)
    assert client.post(f"/failed-jobs/{job.id}/forget").status_code == 303
    assert queue_monitor.figures().failed == 0
    assert client.post("/failed-jobs/missing/again").status_code == 303


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


@pytest.mark.parametrize("name", ["schedules", "triggers"])
@pytest.mark.parametrize(
    "content",
    [
        b"triggers: [{name: inbox}]\nschedules: [{name: nightly}]\n",
        b"- a list",
        b"triggers: 7\nschedules: 7",
        b"\x00\x01\xff",
        "triggers: []".encode("utf-16"),
        b"[" * 5000,
        b"a: &a [*a]",
        b"x" * 1_100_000,
        b"triggers: [{name: [], source: {}, watch: 1, start: []}]\nschedules: [{cron: {}, timezone: /etc/passwd}]",
    ],
)
def test_a_broken_file_is_on_the_page_with_its_lines(
    client: FlaskClient, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / f"{name}.yaml").write_bytes(content)
    text = page(client, "/")
    assert re.search(rf"{name}\.yaml:\d+:\d+: ", text)
    assert f"No {name[:-1]} is in force until the file is corrected." in text


@pytest.mark.parametrize("name", ["schedules", "triggers"])
def test_a_file_that_cannot_be_read_is_on_the_page(client: FlaskClient, tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.yaml").mkdir()
    assert f"{name}.yaml" in page(client, "/")


def test_a_broken_edit_of_the_triggers_is_shown_beside_those_in_force(client: FlaskClient, tmp_path: Path) -> None:
    file = tmp_path / "triggers.yaml"
    rule = "{name: inbox, source: listing, watch: 's3://bucket/inbox/', start: manifest, every_s: 10}"
    file.write_text(f"triggers: [{rule}]")
    assert "lists every 10 s" in page(client, "/")
    file.write_text("triggers:\n  - {name: inbox, source: nowhere}")
    text = page(client, "/")
    assert "triggers.yaml:2:" in text
    assert "lists every 10 s" in text
    assert "The last valid version of the file is in force." in text
    file.write_text("triggers: []")
    assert "triggers.yaml:" not in page(client, "/")


@pytest.mark.parametrize(
    ("more", "is_sandbox"),
    [
        ({"wiro_api_key": "k", "wiro_api_url": "http://127.0.0.1:7/v1", "fetch_hosts": "127.0.0.1:7"}, True),
        ({"wiro_api_key": "k", "wiro_api_url": "http://sandbox:7/v1", "fetch_hosts": "*.wiro.ai,sandbox"}, True),
        ({}, True),
        ({"wiro_api_key": "k"}, False),
        ({"wiro_api_key": "k", "fetch_hosts": "api.wiro.ai"}, False),
        # A gateway of the user before the real vendor.
        ({"wiro_api_key": "k", "wiro_api_url": "http://127.0.0.1:7/v1"}, False),
    ],
)
def test_a_chip_shows_that_no_real_vendor_is_connected(redis_url: str, more: dict[str, Any], is_sandbox: bool) -> None:
    client = create_app(Settings(redis_url=redis_url, api_token=SecretStr(TOKEN), **more)).test_client()
    for path in ("/login", "/", "/new"):
        text = client.get(path, headers={"Accept": "text/html", **BEARER}).text
        assert ("SANDBOX" in text) is is_sandbox


def test_batches_have_page_numbers_and_an_order(client: FlaskClient, ledger: Ledger) -> None:
    for number in range(60):
        a_batch(ledger, f"b{number:02}", items=1)
        ledger.redis.hset(f"dailies:batch:b{number:02}", "cost", number * 10**10)
        ledger.redis.zadd("dailies:batches", {f"b{number:02}": number})
    text = page(client, "/")
    assert "Page 1 of 3" in text
    assert 'href="/?page=3"' in text
    assert "/batches/b09" in page(client, "/?page=3")
    assert "/batches/b00" in page(client, "/?page=99")
    text = page(client, "/?sort=cost&page=2")
    assert re.findall(r'<a href="/batches/(b\d+)"', text)[:2] == ["b34", "b33"]
    assert 'href="/?sort=cost&amp;page=3"' in text
    for query in ("?page=0", "?page=x", "?page=99999999999", "?sort=nonsense", "?after=b01"):
        assert "/batches/b59" in page(client, f"/{query}")


def test_triggers_are_shown_with_their_latest_batch(client: FlaskClient, tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "triggers.yaml").write_text(
        "triggers: [{name: inbox, source: listing, watch: 's3://bucket/inbox/', start: manifest, every_s: 10}]"
    )
    assert "lists every 10 s. No batch yet." in page(client, "/")
    TriggerStore.connect(redis_url).record_last_batch("inbox", "inbox-0123456789ab")
    assert "/batches/inbox-0123456789ab" in page(client, "/")
