"""An object that is not there at the first look: later looks, other readings of its key, then a line that names it."""

from __future__ import annotations

import json
import threading
import unicodedata
from typing import Any
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs
from support.images import a_jpeg
from support.inbox import MANIFEST, Inbox

from pipeline.storage.s3 import Storage, split
from pipeline.triggers.dispatch import MISSING_WAIT_S, EventOutcome
from pipeline.triggers.events import parse
from pipeline.triggers.prefix_poller import PrefixPoller
from pipeline.triggers.rule import Rule, Source, Start

NFC = unicodedata.normalize("NFC", "café.yaml")
NFD = unicodedata.normalize("NFD", NFC)


def message(bucket: str, key: str) -> str:
    """Return a notification with a key as it stands."""
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}
    return json.dumps({"Records": [record]})


def eventbridge(bucket: str, key: str) -> str:
    detail = {"bucket": {"name": bucket}, "object": {"key": key}}
    return json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})


def outcomes(inbox: Inbox, text: str, rule: Rule | None = None) -> list[EventOutcome]:
    return inbox.dispatcher.handle_all(parse(text), [rule or inbox.rule()])


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a b.yaml", "a+b.yaml"),
        ("a b.yaml", "a%20b.yaml"),
        ("a b.yaml", "a b.yaml"),
        ("a b.yaml", "a%2Bb.yaml"),
        ("a b.yaml", "a%2520b.yaml"),
        ("a+b.yaml", "a+b.yaml"),
        ("a+b.yaml", "a%2Bb.yaml"),
        ("a+b.yaml", "a%252Bb.yaml"),
        ("a%20b.yaml", "a%20b.yaml"),
        ("100%.yaml", "100%.yaml"),
        (NFC, quote(NFD)),
        (NFD, quote(NFC)),
        (NFC, quote(quote(NFC))),
        (NFD, NFC),
    ],
)
@pytest.mark.parametrize("envelope", [message, eventbridge])
def test_a_key_is_found_however_it_is_encoded(inbox: Inbox, name: str, written: str, envelope: Any) -> None:
    bucket, folder = split(inbox.watch)
    inbox.put(name)
    assert outcomes(inbox, envelope(bucket, folder + written)) == [EventOutcome.STARTED]
    assert outcomes(inbox, envelope(bucket, folder + written)) == [EventOutcome.KNOWN]
    assert len(inbox.batches()) == 1
    assert inbox.status(name)["status"] == "accepted"


def test_the_key_as_the_standard_reads_it_comes_first(inbox: Inbox) -> None:
    bucket, folder = split(inbox.watch)
    inbox.put("a b.yaml", MANIFEST.replace(b"la-street", b"right"))
    inbox.put("a+b.yaml", MANIFEST.replace(b"la-street", b"wrong"))
    outcomes(inbox, message(bucket, f"{folder}a+b.yaml"))
    assert [inbox.service.ledger.batches.get(one).name for one in inbox.batches()] == ["right"]


@pytest.mark.parametrize("escape", ["..%2f..%2fsecret.yaml", "%252e%252e/secret.yaml", "%2e%2e/inbox2/secret.yaml"])
def test_no_reading_of_a_key_leaves_the_watched_prefix(inbox: Inbox, escape: str) -> None:
    bucket, folder = split(inbox.watch)
    inbox.storage.put(f"{inbox.watch.removesuffix('inbox/')}secret.yaml", MANIFEST, "text/plain")
    outcomes(inbox, message(bucket, folder + escape))
    assert inbox.batches() == []


def test_an_object_that_comes_later_starts_its_batch_with_the_next_delivery(inbox: Inbox) -> None:
    event = inbox.put("a.yaml")
    inbox.storage.delete(event.uri)
    assert inbox.handle(event) is EventOutcome.MISSING
    inbox.put("a.yaml")
    assert inbox.handle(event) is EventOutcome.STARTED


def test_an_event_is_dropped_after_a_while_with_a_line_that_names_what_was_tried(inbox: Inbox) -> None:
    bucket, folder = split(inbox.watch)
    text = message(bucket, f"{folder}a+b.yaml")
    with capture_logs() as lines:
        assert outcomes(inbox, text) == [EventOutcome.MISSING]
        redis = inbox.dispatcher.store._redis
        (member,) = redis.zrange("dailies:trigger:inbox:missing", 0, -1)
        redis.zincrby("dailies:trigger:inbox:missing", -1000 * MISSING_WAIT_S, member)
        assert outcomes(inbox, text) == [EventOutcome.IGNORED]
    found = [line for line in lines if line["event"] == "object_not_found"]
    assert [line["is_dropped"] for line in found] == [False, True]
    assert found[1]["object"].endswith("/a b.yaml")
    assert any(uri.endswith("/a+b.yaml") for uri in found[1]["also_tried"])


def a_rule(inbox: Inbox, **more: Any) -> Rule:
    return Rule("inbox", Source.LISTING, inbox.watch, more.pop("start", Start.MANIFEST), every_s=1, **more)


def list_once(inbox: Inbox, rule: Rule | None = None) -> None:
    inbox.dispatcher.store._redis.delete("dailies:trigger:inbox:turn")
    poller = PrefixPoller(rule or a_rule(inbox))
    poller.run_once(inbox.dispatcher, threading.Event())
    poller.close()


def test_a_listed_object_that_cannot_be_read_yet_is_read_at_the_next_listing(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put("a.yaml")
    with monkeypatch.context() as patch:
        patch.setattr(inbox.storage, "get_with_info", lambda uri, count: None)
        list_once(inbox)
    assert inbox.batches() == []
    list_once(inbox)
    assert len(inbox.batches()) == 1


@pytest.mark.parametrize("kind", ["manifest", "image", "gathered image"])
def test_objects_that_a_listing_leaves_out_for_days_are_not_bought_again(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rule = a_rule(inbox)
    if kind != "manifest":
        gather_s = 0.001 if kind == "gathered image" else 0.0
        rule = a_rule(inbox, start=Start.IMAGES, prompts=("smiles",), gather_s=gather_s)
    inbox.put("1.yaml")
    inbox.put("2.yaml", MANIFEST.replace(b"smiles", b"runs"))
    inbox.put("1.jpg", a_jpeg(1))
    inbox.put("2.jpg", a_jpeg(2))

    def listed() -> list[str]:
        list_once(inbox, rule)
        if rule.gather_s:
            inbox.dispatcher.submit_gathered(rule)
        return inbox.batches()

    before, redis = listed(), inbox.dispatcher.store._redis
    assert before
    whole = Storage.list
    for left in (0, 1):
        monkeypatch.setattr(Storage, "list", lambda self, prefix, left=left: list(whole(self, prefix))[:left])
        key = "dailies:trigger:inbox:listed"
        for member in redis.zrange(key, 0, -1):
            redis.zincrby(key, -2 * 86_400_000, member)
        assert listed() == before
        monkeypatch.setattr(Storage, "list", whole)
        assert listed() == before


def test_an_empty_listing_forgets_nothing(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("a.yaml")
    list_once(inbox)
    redis = inbox.dispatcher.store._redis
    (member,) = redis.zrange("dailies:trigger:inbox:listed", 0, -1)
    redis.zincrby("dailies:trigger:inbox:listed", -2 * 86_400_000, member)
    monkeypatch.setattr(Storage, "list", lambda self, prefix: iter(()))
    list_once(inbox)
    assert redis.zcard("dailies:trigger:inbox:listed") == 1


def test_rules_that_are_missing_for_a_moment_keep_their_state(inbox: Inbox) -> None:
    list_once(inbox)
    event = inbox.put("a.yaml")
    list_once(inbox)
    for text in (None, "", "triggers: []\n"):
        if text is None:
            inbox.settings.triggers.unlink(missing_ok=True)
        else:
            inbox.settings.triggers.write_text(text)
        assert inbox.another().handle(event, [a_rule(inbox)]) == [EventOutcome.KNOWN]
    assert len(inbox.batches()) == 1
