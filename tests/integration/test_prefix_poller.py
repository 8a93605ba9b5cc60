"""Inboxes that are listed, on a real S3 server."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis import Redis
from support.inbox import MANIFEST, Inbox

from pipeline.errors import StorageError, Unreachable
from pipeline.triggers.dispatch import Dispatcher, EventOutcome
from pipeline.triggers.prefix_poller import PrefixPoller
from pipeline.triggers.rule import Rule, Source, Start


def a_rule(inbox: Inbox, **more: Any) -> Rule:
    return Rule("inbox", Source.LISTING, inbox.watch, more.pop("start", Start.MANIFEST), every_s=1, **more)


def look(inbox: Inbox, rule: Rule | None = None, dispatcher: Dispatcher | None = None) -> None:
    """One look by a listener that has just been started."""
    listed = PrefixPoller(rule or a_rule(inbox))
    inbox.dispatcher.memory._redis.delete("dailies:trigger:inbox:turn")
    listed.step(dispatcher or inbox.dispatcher, threading.Event())
    listed.close()


@pytest.fixture
def handled(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the objects that were seen to."""
    seen: list[str] = []
    handle = Dispatcher.handle

    def note(self: Dispatcher, event: Any, rules: Any) -> list[EventOutcome]:
        seen.append(event.key.rpartition("/")[2])
        return handle(self, event, rules)

    monkeypatch.setattr(Dispatcher, "handle", note)
    return seen


def test_what_lies_in_the_inbox_starts_once_however_often_it_is_listed(inbox: Inbox, handled: list[str]) -> None:
    inbox.drop("a.yaml")
    inbox.drop("folder/b c.yaml")
    inbox.drop("notes.txt")
    for _ in range(3):
        look(inbox)
    assert len(inbox.batches()) == 2
    assert sorted(handled) == ["a.yaml", "b c.yaml"]
    assert inbox.status("folder/b c.yaml")["status"] == "accepted"


def test_new_content_is_new(inbox: Inbox) -> None:
    inbox.drop("a.yaml")
    look(inbox)
    inbox.drop("a.yaml", MANIFEST.replace(b"smiles", b"runs"))
    look(inbox)
    assert len(inbox.batches()) == 2


def test_who_mends_the_defaults_and_drops_the_rows_again_is_heard(inbox: Inbox, wait_for: Any) -> None:
    rows = b"id,prompt\none,smiles\n"
    inbox.drop("rows.csv", rows)
    look(inbox)
    assert inbox.status("rows.csv")["status"] == "rejected"
    inbox.drop("_defaults.yaml", b"version: 1\nname: rows\n")

    def dropped_again() -> bool:
        # The server tells times in whole seconds: a second drop within one is the first.
        inbox.drop("rows.csv", rows)
        look(inbox)
        return bool(inbox.batches())

    wait_for(dropped_again, "the rows' batch")
    assert inbox.status("rows.csv")["status"] == "accepted"


def test_more_objects_than_fit_in_a_page_are_all_seen(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.triggers.prefix_poller._CHUNK", 3)
    for n in range(10):
        inbox.drop(f"{n}.yaml")
    look(inbox)
    assert len(inbox.batches()) == 10


def test_while_one_listener_has_its_turn_the_others_let_it(inbox: Inbox, handled: list[str]) -> None:
    inbox.drop("a.yaml")
    rule = Rule("inbox", Source.LISTING, inbox.watch, Start.MANIFEST, every_s=3600)
    for _ in range(3):
        PrefixPoller(rule).step(inbox.another(), threading.Event())
    assert handled == ["a.yaml"]


def test_an_object_that_could_not_be_read_is_looked_at_again(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.drop("a.yaml")
    inbox.drop("b.yaml")
    good = inbox.storage.get_with_info

    def away(uri: str, count: int) -> Any:
        if uri.endswith("a.yaml"):
            raise StorageError("S3 does not answer", retryable=True)
        return good(uri, count)

    monkeypatch.setattr(inbox.storage, "get_with_info", away)
    look(inbox)
    assert len(inbox.batches()) == 1
    monkeypatch.setattr(inbox.storage, "get_with_info", good)
    look(inbox)
    assert len(inbox.batches()) == 2


def test_objects_that_are_gone_are_forgotten(inbox: Inbox) -> None:
    event = inbox.drop("a.yaml")
    inbox.drop("b.yaml")
    look(inbox)
    inbox.storage.delete(event.uri)
    redis = inbox.dispatcher.memory._redis
    look(inbox)
    assert redis.zcard("dailies:trigger:inbox:listed") == 2
    inbox.dispatcher.memory.forget_missing("inbox", _after_a_day(redis))
    assert redis.zcard("dailies:trigger:inbox:listed") == 1


def _after_a_day(redis: Any) -> float:
    """A moment at which what the last look did not find is a day old, and what it found is not."""
    (_, first), (_, last) = redis.zrange("dailies:trigger:inbox:listed", 0, -1, withscores=True)
    return float((first + last) / 2 / 1000 + 86_400)


def test_a_stopping_listener_begins_nothing(inbox: Inbox) -> None:
    inbox.drop("a.yaml")
    stopping = threading.Event()
    stopping.set()
    PrefixPoller(a_rule(inbox)).step(inbox.dispatcher, stopping)
    assert inbox.batches() == []


def test_an_unknown_bucket_is_an_error_with_advice(inbox: Inbox) -> None:
    rule = Rule("inbox", Source.LISTING, "s3://no-such-bucket/", Start.MANIFEST)
    with pytest.raises(StorageError, match="Create the bucket"):
        PrefixPoller(rule).step(inbox.dispatcher, threading.Event())


def test_without_redis_nothing_is_noted(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.drop("a.yaml")

    def away(*args: Any, **more: Any) -> Any:
        raise Unreachable("Redis does not answer")

    monkeypatch.setattr(inbox.dispatcher.memory, "is_reported", away)
    with pytest.raises(Unreachable):
        look(inbox)
    monkeypatch.undo()
    look(inbox)
    assert len(inbox.batches()) == 1


def test_images_that_are_listed_are_gathered(inbox: Inbox, redis_url: str) -> None:
    rule = a_rule(inbox, start=Start.IMAGES, prompts=("smiles",), gather_s=0.001)
    for n in range(4):
        inbox.drop(f"{n}.jpg", str(n).encode())
    look(inbox, rule)
    look(inbox, rule)
    inbox.dispatcher.submit_gathered(rule)
    (batch_id,) = inbox.batches()
    assert inbox.service.ledger.batches.get(batch_id).total == 4
    assert Redis.from_url(redis_url).zcard("dailies:trigger:inbox:closed") == 0
