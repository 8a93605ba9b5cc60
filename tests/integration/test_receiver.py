"""The receiver of callbacks, against a real server."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from support.access import TOKEN
from support.ledger_fixtures import a_batch, dues, running

from pipeline.batches.job_queue import Job, JobQueue
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.domain.callback_tokens import LIVE_CHECK_BATCH, CallbackSigner, RunId
from pipeline.errors import Unreachable
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.live_checks import LIFETIME_S, MAX_CALLBACKS
from pipeline.settings import Settings
from pipeline.web import create_app
from pipeline.web.api.schemas import BATCH_ID
from pipeline.web.callbacks.callback_writer import CallbackWriter
from pipeline.web.callbacks.receiver import MAX_CALLBACK_BYTES

SECRET = "a-secret-of-the-tests"
TASK = {"id": "2221", "status": "task_postprocess_end", "pexit": "0"}


def a_client(redis_url: str, secret: str = SECRET) -> FlaskClient:
    # The vendor does not have the API token.
    settings = Settings(redis_url=redis_url, secret=SecretStr(secret), api_token=SecretStr(TOKEN))
    return create_app(settings).test_client()


@pytest.fixture
def client(redis_url: str) -> FlaskClient:
    return a_client(redis_url)


def address(run: RunId, secret: str = SECRET) -> str:
    return CallbackSigner(secret).url("", run)


def path_info(path: str) -> dict[str, str]:
    """Return what a WSGI server sets for this path. The test client takes the first step of `//a/b` for a host."""
    return {"PATH_INFO": unquote(path).encode().decode("latin-1")}


def some_running(ledger: Ledger, items: int = 1) -> list[RunId]:
    a_batch(ledger, items=items)
    return [claim.run for claim in running(ledger, items, poll_after_s=600)]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(TASK).encode(),
        json.dumps({"tasklist": [TASK], "result": True}).encode(),
        b'{"taskid": "2221", "status": "task_',
        b"\x00\xff" * 1000,
        b"x" * 1_000_000,
        b"x" * (MAX_CALLBACK_BYTES + 1),
        b"[" * 50_000,
        b"",
    ],
    ids=["task", "detail", "truncated", "garbage", "1 MB", "too long", "deep", "nothing"],
)
def test_a_valid_token_returns_200_whatever_the_body(client: FlaskClient, ledger: Ledger, body: bytes) -> None:
    [run] = some_running(ledger)
    answer = client.post(address(run), data=body)
    assert (answer.status_code, answer.data) == (200, b"")
    assert [due.run for due in dues(ledger)] == [run]


def test_many_callbacks_enqueue_one_job(client: FlaskClient, ledger: Ledger, redis_url: str) -> None:
    for run in some_running(ledger, 3):
        assert client.post(address(run), json=TASK).status_code == 200
    assert QueueMonitor(redis_url).figures().waiting == 1


def test_a_callback_after_the_job_started_enqueues_another_one(
    client: FlaskClient, ledger: Ledger, redis_url: str
) -> None:
    first, second = some_running(ledger, 2)
    client.post(address(first), json=TASK)
    JobQueue(redis_url).clear_pending(Job.COLLECT)
    client.post(address(second), json=TASK)
    assert QueueMonitor(redis_url).figures().waiting == 2


def test_any_other_token_returns_404(client: FlaskClient, ledger: Ledger) -> None:
    [run] = some_running(ledger)
    good = address(run)
    for path in (
        good[:-1],
        good + "x",
        address(run, "another-secret"),
        "/callbacks/wiro/",
        "/callbacks/wiro/%ff",
        good + "/x",
    ):
        answer = client.post(path, json=TASK)
        assert answer.status_code == 404
        assert answer.content_type == "application/problem+json"
    assert dues(ledger) == []


@pytest.mark.parametrize(
    ("public_url", "before"),
    [
        (None, ""),
        (None, "/"),
        ("https://example.com/", "//"),
        ("https://example.com/dailies/", ""),
        ("https://example.com/dailies", "/dailies"),
        ("https://example.com/a//b/", "/a/b"),
        ("https://example.com/%C3%A4", "/%C3%A4"),
    ],
)
@pytest.mark.parametrize("change", [("", ""), ("/callbacks", "//callbacks"), ("/wiro/", "//wiro///"), ("$", "//")])
def test_a_callback_arrives_with_slashes_too_many_and_behind_a_prefix(
    redis_url: str, ledger: Ledger, public_url: str | None, before: str, change: tuple[str, str]
) -> None:
    [run] = some_running(ledger)
    settings = Settings(redis_url=redis_url, secret=SecretStr(SECRET), public_url=public_url)
    path = before + (address(run) + "$").replace(*change).removesuffix("$")
    answer = create_app(settings).test_client().post(json=TASK, environ_overrides=path_info(path))
    assert answer.status_code == 200
    assert [due.run for due in dues(ledger)] == [run]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_callback_by_another_method_is_refused(client: FlaskClient, ledger: Ledger, method: str) -> None:
    [run] = some_running(ledger)
    answer = client.open(address(run), method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert dues(ledger) == []


@pytest.mark.parametrize("path", ["//events/s3", "/events/s3/", "/events//s3", "/dailies/events/s3"])
def test_an_s3_event_is_not_redirected_either(redis_url: str, path: str) -> None:
    settings = Settings(redis_url=redis_url, public_url="https://example.com/dailies", api_token=SecretStr(TOKEN))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    client = create_app(settings).test_client()
    test_event = {"Event": "s3:TestEvent", "Bucket": "bucket"}
    answer = client.post(json=test_event, headers=headers, environ_overrides=path_info(path))
    assert answer.status_code == 200


def test_other_methods_record_nothing(client: FlaskClient, ledger: Ledger) -> None:
    [run] = some_running(ledger)
    for method in ("GET", "PUT", "DELETE"):
        assert client.open(address(run), method=method).status_code in (401, 404, 405)
    assert dues(ledger) == []


def test_repeated_late_and_unknown_callbacks_return_200(client: FlaskClient, ledger: Ledger) -> None:
    [run] = some_running(ledger)
    for name in (run, run, RunId("b", "i0", 99), RunId("gone", "i0", 1)):
        assert client.post(address(name), json=TASK).status_code == 200
    assert len(dues(ledger)) == 1


def test_a_key_that_is_being_rotated_is_still_accepted(redis_url: str, ledger: Ledger) -> None:
    [run] = some_running(ledger)
    rotated = a_client(redis_url, f"a-new-secret,{SECRET}")
    assert rotated.post(address(run), json=TASK).status_code == 200


def test_while_redis_is_unavailable_a_callback_returns_503() -> None:
    answer = a_client("redis://127.0.0.1:1/0").post(address(RunId("b", "i0", 1)), json=TASK)
    assert answer.status_code == 503


def test_every_callback_of_a_burst_is_recorded(client: FlaskClient, ledger: Ledger) -> None:
    runs = some_running(ledger, 300)
    app = client.application
    with ThreadPoolExecutor(32) as vendors:
        answers = list(vendors.map(lambda run: app.test_client().post(address(run), json=TASK).status_code, runs * 2))
    assert set(answers) == {200}
    assert {due.run for due in dues(ledger, 400)} == set(runs)


def test_a_burst_of_callbacks_is_recorded_together(ledger: Ledger, redis_url: str) -> None:
    writer = CallbackWriter(ledger.runs, JobQueue(redis_url))
    runs = some_running(ledger, 300)
    before = _scripts_run(ledger)
    with ThreadPoolExecutor(64) as vendors:
        list(vendors.map(lambda run: writer.record(run, "", ""), runs))
    assert _scripts_run(ledger) - before <= len(runs)
    assert {due.run for due in dues(ledger, 400)} == set(runs)


def test_a_redis_failure_fails_all_waiting_callbacks(redis_url: str) -> None:
    writer = CallbackWriter(Ledger.connect("redis://127.0.0.1:1/0").runs, JobQueue(redis_url))

    def fails(number: int) -> bool:
        try:
            writer.record(RunId("b", f"i{number}", 1), "", "")
        except Unreachable:
            return True
        return False

    with ThreadPoolExecutor(16) as vendors:
        assert all(vendors.map(fails, range(64)))


def _scripts_run(ledger: Ledger) -> int:
    return int(ledger.redis.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


def test_callbacks_of_a_live_check_are_refused_twice_and_recorded_without_values(
    client: FlaskClient, ledger: Ledger
) -> None:
    url = address(RunId(LIVE_CHECK_BATCH, "check-1", 1))
    ledger.live_checks.open("check-1", refusals=2)
    statuses = [client.post(url, json=TASK, headers={"X-Trace": "a-value"}).status_code for _ in range(4)]
    assert statuses == [503, 503, 200, 200]
    received = ledger.live_checks.callbacks("check-1")
    assert [callback.status for callback in received] == statuses
    assert received[0].shape == "{id: number as text, pexit: number as text, status: text}"
    assert {"Content-Type", "X-Trace"} <= set(received[0].headers)
    assert "a-value" not in str(received)
    assert received[0].names_task
    assert ledger.counters.read().callbacks["stale"] == 0


def test_callbacks_of_a_live_check_are_bounded_and_a_late_one_leaves_nothing(
    client: FlaskClient, ledger: Ledger
) -> None:
    url = address(RunId(LIVE_CHECK_BATCH, "check-2", 1))
    assert client.post(url).status_code == 200
    assert ledger.live_checks.callbacks("check-2") == []
    assert list(ledger.redis.scan_iter("dailies:live_check:*")) == []
    ledger.live_checks.open("check-2", refusals=0)
    for _ in range(MAX_CALLBACKS + 5):
        client.post(url)
    assert len(ledger.live_checks.callbacks("check-2")) == MAX_CALLBACKS
    assert 0 < ledger.redis.ttl("dailies:live_check:check-2") <= LIFETIME_S


def test_no_batch_can_have_the_id_of_a_live_check() -> None:
    assert re.fullmatch(BATCH_ID, LIVE_CHECK_BATCH) is None
