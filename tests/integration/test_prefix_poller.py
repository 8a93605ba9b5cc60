"""Watched prefixes that are listed, on a real Redis and a real S3 server."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis import Redis
from support.images import a_jpeg
from support.inbox import MANIFEST, Inbox

from pipeline.errors import StorageError, Unreachable
from pipeline.triggers.dispatch import Dispatcher, EventOutcome
from pipeline.triggers.prefix_poller import PrefixPoller
from pipeline.triggers.rule import Rule, Source, Start


def a_rule(inbox: Inbox, **more: Any) -> Rule:
    return Rule("inbox", Source.LISTING, inbox.watch, more.pop("start", Start.MANIFEST), every_s=1, **more)


def list_once(inbox: Inbox, rule: Rule | None = None, dispatcher: Dispatcher | None = None) -> None:
    """List the prefix once, as a listener that was just started."""
    poller = PrefixPoller(rule or a_rule(inbox))
    inbox.dispatcher.store._redis.delete("dailies:trigger:inbox:turn")
    poller.run_once(dispatcher or inbox.dispatcher, threading.Event())
    poller.close()


@pytest.fixture
def handled(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the objects that were dispatched."""
    seen: list[str] = []
    handle = Dispatcher.handle

    def note(self: Dispatcher, event: Any, rules: Any) -> list[EventOutcome]:
        seen.append(event.key.rpartition("/")[2])
        return handle(self, event, rules)

    monkeypatch.setattr(Dispatcher, "handle", note)
    return seen


def test_an_object_starts_once_however_often_it_is_listed(inbox: Inbox, handled: list[str]) -> None:
    inbox.put("a.yaml")
    inbox.put("folder/b c.yaml")
    inbox.put("notes.txt")
    for _ in range(3):
        list_once(inbox)
    assert len(inbox.batches()) == 2
    assert sorted(handled) == ["a.yaml", "b c.yaml"]
    assert inbox.status("folder/b c.yaml")["status"] == "accepted"


def test_new_content_of_a_listed_object_is_a_new_batch(inbox: Inbox) -> None:
    inbox.put("a.yaml")
    list_once(inbox)
    inbox.put("a.yaml", MANIFEST.replace(b"smiles", b"runs"))
    list_once(inbox)
    assert len(inbox.batches()) == 2


def test_rows_that_are_uploaded_again_after_the_defaults_are_fixed_start_a_batch(inbox: Inbox, wait_for: Any) -> None:
    rows = b"id,prompt\none,smiles\n"
    inbox.put("rows.csv", rows)
    list_once(inbox)
    assert inbox.status("rows.csv")["status"] == "rejected"
    inbox.put("_defaults.yaml", b"version: 1\nname: rows\n")

    def uploaded_again() -> bool:
        # The server has times in whole seconds: a second upload within one second looks like the first.
        inbox.put("rows.csv", rows)
        list_once(inbox)
        return bool(inbox.batches())

    wait_for(uploaded_again, "the rows' batch")
    assert inbox.status("rows.csv")["status"] == "accepted"


def test_all_objects_are_listed_even_if_they_exceed_a_chunk(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.triggers.prefix_poller._CHUNK", 3)
    for n in range(10):
        inbox.put(f"{n}.yaml")
    list_once(inbox)
    assert len(inbox.batches()) == 10


def test_one_listener_at_a_time_lists_a_prefix(inbox: Inbox, handled: list[str]) -> None:
    inbox.put("a.yaml")
    rule = Rule("inbox", Source.LISTING, inbox.watch, Start.MANIFEST, every_s=3600)
    for _ in range(3):
        PrefixPoller(rule).run_once(inbox.another(), threading.Event())
    assert handled == ["a.yaml"]


def test_an_object_that_could_not_be_read_is_processed_at_the_next_listing(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put("a.yaml")
    inbox.put("b.yaml")
    good = inbox.storage.get_with_info

    def unavailable(uri: str, count: int) -> Any:
        if uri.endswith("a.yaml"):
            raise StorageError("S3 does not answer", retryable=True)
        return good(uri, count)

    monkeypatch.setattr(inbox.storage, "get_with_info", unavailable)
    list_once(inbox)
    assert len(inbox.batches()) == 1
    monkeypatch.setattr(inbox.storage, "get_with_info", good)
    list_once(inbox)
    assert len(inbox.batches()) == 2


def test_deleted_objects_are_forgotten(inbox: Inbox) -> None:
    event = inbox.put("a.yaml")
    inbox.put("b.yaml")
    list_once(inbox)
    inbox.storage.delete(event.uri)
    redis = inbox.dispatcher.store._redis
    list_once(inbox)
    assert redis.zcard("dailies:trigger:inbox:listed") == 2
    inbox.dispatcher.store.forget_missing("inbox", _after_a_day(redis))
    assert redis.zcard("dailies:trigger:inbox:listed") == 1


def _after_a_day(redis: Any) -> float:
    """Return a time one day after the earlier of the two listings, and less than a day after the later one."""
    (_, first), (_, last) = redis.zrange("dailies:trigger:inbox:listed", 0, -1, withscores=True)
    return float((first + last) / 2 / 1000 + 86_400)


def test_a_stopping_listener_starts_nothing(inbox: Inbox) -> None:
    inbox.put("a.yaml")
    stopping = threading.Event()
    stopping.set()
    PrefixPoller(a_rule(inbox)).run_once(inbox.dispatcher, stopping)
    assert inbox.batches() == []


def test_an_unknown_bucket_is_an_error_with_a_fix(inbox: Inbox) -> None:
    rule = Rule("inbox", Source.LISTING, "s3://no-such-bucket/", Start.MANIFEST)
    with pytest.raises(StorageError, match="Create the bucket"):
        PrefixPoller(rule).run_once(inbox.dispatcher, threading.Event())


def test_without_redis_a_listed_object_is_not_marked_as_processed(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put("a.yaml")

    def unavailable(*args: Any, **more: Any) -> Any:
        raise Unreachable("Redis does not answer")

    monkeypatch.setattr(inbox.dispatcher.store, "is_reported", unavailable)
    with pytest.raises(Unreachable):
        list_once(inbox)
    monkeypatch.undo()
    list_once(inbox)
    assert len(inbox.batches()) == 1


def test_listed_images_are_gathered(inbox: Inbox, redis_url: str) -> None:
    rule = a_rule(inbox, start=Start.IMAGES, prompts=("smiles",), gather_s=0.001)
    for n in range(4):
        inbox.put(f"{n}.jpg", a_jpeg(n))
    list_once(inbox, rule)
    list_once(inbox, rule)
    inbox.dispatcher.submit_gathered(rule)
    (batch_id,) = inbox.batches()
    assert inbox.service.ledger.batches.get(batch_id).total == 4
    assert Redis.from_url(redis_url).zcard("dailies:trigger:inbox:closed") == 0
