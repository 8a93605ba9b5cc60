"""Notifications that a batch has ended: the job sends them to a real HTTP receiver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook
from support.ledger_fixtures import FAILED, RUNNING, a_batch_config, a_row, dues, running
from support.waiting import WaitFor

import jobs.deliver_notifications
from jobs.context import context
from pipeline.batches.queue_monitor import QueueMonitor
from pipeline.domain.model import Review
from pipeline.domain.states import BatchState
from pipeline.errors import NotificationFailed
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.outbox import Delivery
from pipeline.ledger.records import FinalizationResult
from pipeline.notifications.sender import RETRY_AFTER_S, NotificationSender
from pipeline.settings import Settings
from pipeline.user_agent import USER_AGENT

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Receiver:
    """An HTTP server that responds with `statuses` one after the other, then with the last one."""

    statuses: list[int] = field(default_factory=lambda: [200])
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    before_response: Callable[[], object] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook-with-a-secret-in-it"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.received.append((dict(self.headers), body))
            receiver.before_response()
            self.send_response(receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0])
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _worker(redis_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make this process a worker."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("PIPELINE_NOTIFY_SECRET", SECRET)
    monkeypatch.setenv("PIPELINE_NOTIFY_HOSTS", f"127.0.0.1:{receiver.port}")
    for cache in (context, jobs.deliver_notifications._sender):
        cache.cache_clear()
    yield
    for cache in (context, jobs.deliver_notifications._sender):
        cache.cache_clear()


def end(ledger: Ledger, notify: str | None, batch_id: str = "b") -> None:
    """Create a batch of one item and end it."""
    row = a_row(batch_id, 1)
    ledger.batches.open(
        row, replace(a_batch_config(row), notify=notify), max_active=0, budget_usd=None, manifest_digest="digest"
    )
    ledger.batches.accept(batch_id)
    ledger.items.load(batch_id, [("i0", {"image": None, "prompt": "p", "params": {}}, None)])
    ledger.batches.start(batch_id, price_usd=Decimal(0), max_failures=10)
    end_again(ledger, notify, batch_id)


def end_again(ledger: Ledger, notify: str | None, batch_id: str = "b") -> None:
    running(ledger)
    for due in dues(ledger):
        ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": "no"})
    lease = ledger.finalization.claim(batch_id, lease_s=60)
    assert lease
    revision = ledger.batches.get(batch_id).revision
    ended = ledger.finalization.complete(
        batch_id, lease, BatchState.FAILED, datetime.now(UTC), revision, notify=notify is not None
    )
    assert ended is FinalizationResult.DONE


def due_now(ledger: Ledger) -> None:
    """Make every delayed notification due now."""
    for member in ledger.redis.zrange("dailies:notices", 0, -1):
        ledger.redis.zadd("dailies:notices", {member: 0})


def test_a_notification_is_sent_once(ledger: Ledger, receiver: Receiver) -> None:
    end(ledger, receiver.url)
    jobs.deliver_notifications.deliver_notifications()
    jobs.deliver_notifications.deliver_notifications()
    [(headers, body)] = receiver.received
    data = Webhook(SECRET).verify(body, headers)["data"]
    assert (data["id"], data["status"], data["results"]) == ("b", "failed", "s3://bucket/b/results.json")
    assert headers["User-Agent"] == USER_AGENT
    assert not ledger.outbox.has_pending()


def test_a_batch_without_an_address_has_no_notification(ledger: Ledger) -> None:
    end(ledger, None)
    assert not ledger.outbox.has_pending()


def test_a_batch_that_ends_again_is_a_new_message(ledger: Ledger, receiver: Receiver) -> None:
    end(ledger, receiver.url)
    jobs.deliver_notifications.deliver_notifications()
    ledger.items.retry("b", ["failed"])
    end_again(ledger, receiver.url)
    jobs.deliver_notifications.deliver_notifications()
    first, second = (headers["webhook-id"] for headers, _ in receiver.received)
    assert first != second


def test_a_review_of_an_ended_batch_sends_no_notification(ledger: Ledger, receiver: Receiver) -> None:
    end(ledger, receiver.url)
    jobs.deliver_notifications.deliver_notifications()
    ledger.items.review("b", "i0", Review("approved"))
    end_again(ledger, receiver.url)
    assert not ledger.outbox.has_pending()


@pytest.mark.parametrize("status", [500, 404, 429, 302])
def test_a_failed_delivery_is_repeated_with_the_same_message_id(
    ledger: Ledger, receiver: Receiver, status: int
) -> None:
    receiver.statuses = [status, 204]
    end(ledger, receiver.url)
    jobs.deliver_notifications.deliver_notifications()
    assert ledger.outbox.claim(8, lease_s=1).due == []
    due_now(ledger)
    jobs.deliver_notifications.deliver_notifications()
    ids = [headers["webhook-id"] for headers, _ in receiver.received]
    assert len(ids) == 2
    assert ids[0] == ids[1]
    assert not ledger.outbox.has_pending()


def test_the_last_failed_attempt_is_a_visible_failed_job(ledger: Ledger, receiver: Receiver) -> None:
    receiver.statuses = [503]
    end(ledger, receiver.url)
    for _ in RETRY_AFTER_S:
        jobs.deliver_notifications.deliver_notifications()
        due_now(ledger)
    with pytest.raises(NotificationFailed, match=r"127\.0\.0\.1 responded with HTTP 503") as caught:
        jobs.deliver_notifications.deliver_notifications()
    assert "secret" not in str(caught.value)
    assert len(receiver.received) == len(RETRY_AFTER_S) + 1
    assert not ledger.outbox.has_pending()


def test_an_endless_response_delays_no_other_notification_and_fails(
    ledger: Ledger, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    proceed = threading.Event()
    receiver.before_response = proceed.wait
    monkeypatch.setattr(jobs.deliver_notifications, "_TIME_BUDGET_S", 0.05)
    end(ledger, receiver.url)
    for _ in range(len(RETRY_AFTER_S) + 1):
        ledger.outbox.claim(8, lease_s=0)
    due_now(ledger)
    with pytest.raises(NotificationFailed, match="too long"):
        jobs.deliver_notifications.deliver_notifications()
    end(ledger, receiver.url, "c")
    jobs.deliver_notifications.deliver_notifications()
    assert ledger.outbox.has_pending()
    proceed.set()
    wait_for(lambda: not ledger.outbox.has_pending(), "the late response")


def test_http_410_ends_the_deliveries(ledger: Ledger, receiver: Receiver) -> None:
    receiver.statuses = [410]
    end(ledger, receiver.url)
    with pytest.raises(NotificationFailed, match="410"):
        jobs.deliver_notifications.deliver_notifications()
    assert not ledger.outbox.has_pending()


def test_the_notification_of_a_crashed_worker_is_sent_by_another(ledger: Ledger, receiver: Receiver) -> None:
    end(ledger, receiver.url)
    assert ledger.outbox.claim(8, lease_s=0.01).due == [Delivery("b", 1, 1)]
    due_now(ledger)
    jobs.deliver_notifications.deliver_notifications()
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://127.0.0.1:1/hook",
        "https://localhost:1/hook",
        "https://[::1]:1/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://user@example.com/hook",
        "ftp://example.com/hook",
    ],
)
def test_notifications_go_neither_to_private_addresses_nor_over_plain_http(ledger: Ledger, url: str) -> None:
    notifier = NotificationSender(Settings(notify_secret=SecretStr(SECRET)))
    with pytest.raises(NotificationFailed) as caught:
        notifier.send(url, a_row("b", 1), "s3://bucket/b/results.json")
    assert not caught.value.retryable


def test_a_private_host_that_outputs_may_come_from_gets_no_notification(ledger: Ledger, receiver: Receiver) -> None:
    hosts = (f"127.0.0.1:{receiver.port}", "127.0.0.1", "localhost")
    notifier = NotificationSender(Settings(notify_secret=SecretStr(SECRET), fetch_hosts=hosts))
    for url in (receiver.url, f"https://localhost:{receiver.port}/"):
        with pytest.raises(NotificationFailed, match="PIPELINE_NOTIFY_HOSTS") as caught:
            notifier.send(url, a_row("b", 1), "s3://bucket/b/results.json")
        assert not caught.value.retryable
    assert receiver.received == []


def test_a_job_is_scheduled_for_the_next_attempt(ledger: Ledger, receiver: Receiver, redis_url: str) -> None:
    receiver.statuses = [500]
    end(ledger, receiver.url)
    jobs.deliver_notifications.deliver_notifications()
    assert QueueMonitor(redis_url).figures().delayed >= 1
