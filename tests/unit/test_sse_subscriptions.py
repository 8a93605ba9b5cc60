"""Subscriptions to a batch: one reader for all, and a limit."""

from __future__ import annotations

import threading

import pytest
from support.waiting import WaitFor

from pipeline.errors import NoSuchBatch, Unreachable
from pipeline.web.api import sse_subscriptions
from pipeline.web.api.sse_subscriptions import SseSubscriptions, TooManySubscriptions


class FakeBatch:
    """A batch whose texts are read one after the other; the last is the end."""

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)
        self.reads = 0

    def read(self, batch_id: str) -> tuple[str, bool]:
        self.reads += 1
        text = self._texts.pop(0) if len(self._texts) > 1 else self._texts[0]
        if text == "away":
            raise Unreachable
        if text == "gone":
            raise NoSuchBatch(batch_id)
        return text, text == "end"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_subscriptions, "POLL_S", 0.02)


def texts_of(subscriptions: SseSubscriptions) -> list[str]:
    subscription = subscriptions.follow("b")
    try:
        return [text for text in subscription if text is not None]
    finally:
        subscription.close()


def test_a_subscriber_gets_every_change_until_the_end() -> None:
    batch = FakeBatch("one", "one", "one", "end")
    assert texts_of(SseSubscriptions(batch.read, 4, threading.Event())) == ["one", "end"]


def test_many_subscribers_cost_no_more_reads_than_one() -> None:
    batch = FakeBatch("one", "two", "three", "end")
    subscriptions = SseSubscriptions(batch.read, 50, threading.Event())
    received: list[list[str]] = []
    subscribers = [threading.Thread(target=lambda: received.append(texts_of(subscriptions))) for _ in range(20)]
    first = subscriptions.follow("b")
    for subscriber in subscribers:
        subscriber.start()
    for subscriber in subscribers:
        subscriber.join(10)
    first.close()
    assert len(received) == 20
    assert all(texts[-1] == "end" for texts in received)
    # The first subscriber and the poller read; a subscriber after the end reads once more.
    assert batch.reads <= 4 + 20
    assert sum(texts == ["end"] for texts in received) >= batch.reads - 4


def test_an_unknown_batch_takes_no_slot() -> None:
    subscriptions = SseSubscriptions(FakeBatch("gone").read, 1, threading.Event())
    for _ in range(3):
        with pytest.raises(NoSuchBatch):
            subscriptions.follow("b")


def test_the_number_of_subscribers_is_limited() -> None:
    subscriptions = SseSubscriptions(FakeBatch("one").read, 2, threading.Event())
    first, second = subscriptions.follow("b"), subscriptions.follow("b")
    with pytest.raises(TooManySubscriptions):
        subscriptions.follow("b")
    first.close()
    first.close()
    third = subscriptions.follow("b")
    with pytest.raises(TooManySubscriptions):
        subscriptions.follow("b")
    second.close()
    third.close()


def test_polling_stops_after_the_last_subscriber_closes(wait_for: WaitFor) -> None:
    subscriptions = SseSubscriptions(FakeBatch("one").read, 2, threading.Event())
    subscriptions.follow("b").close()
    wait_for(lambda: not any(thread.name == "poll b" for thread in threading.enumerate()), "the poller's end")


def test_a_short_outage_of_redis_ends_no_subscription() -> None:
    assert texts_of(SseSubscriptions(FakeBatch("one", "away", "away", "two", "end").read, 1, threading.Event())) == [
        "one",
        "two",
        "end",
    ]


def test_a_heartbeat_is_sent_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_subscriptions, "HEARTBEAT_S", 0.05)
    subscriber = SseSubscriptions(FakeBatch("one").read, 1, threading.Event()).follow("b")
    texts = iter(subscriber)
    assert [next(texts), next(texts), next(texts)] == ["one", None, None]
    subscriber.close()
