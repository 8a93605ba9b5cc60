"""How many batches a trigger rule starts on a UTC day: what is beyond it waits for the next day, from every source."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
from pydantic import SecretStr
from support.images import a_jpeg
from support.inbox import Inbox
from support.sqs_queues import Sqs

from pipeline.batches.submission import Submission
from pipeline.triggers import sqs
from pipeline.triggers.dispatch import EventOutcome
from pipeline.triggers.prefix_poller import PrefixPoller
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.triggers.sqs import Queue
from pipeline.web import create_app


def next_day(inbox: Inbox) -> None:
    """Let the batches of today be those of yesterday."""
    redis = inbox.service.ledger.redis
    for key in redis.scan_iter("dailies:trigger:inbox:d*"):
        redis.rename(key, f"{key.rpartition(':')[0]}:yesterday")


def list_once(inbox: Inbox, rule: Rule) -> None:
    poller = PrefixPoller(rule)
    inbox.service.ledger.redis.delete("dailies:trigger:inbox:turn")
    poller.run_once(inbox.dispatcher, threading.Event())
    poller.close()


def statuses(inbox: Inbox, *names: str) -> list[str]:
    return sorted(inbox.status(name)["status"] for name in names)


def test_objects_beyond_the_limit_wait_with_the_reason_in_their_status_files_and_start_the_next_day(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}.yaml" for number in range(5)]
    for name in names:
        inbox.put(name)
    rule = inbox.parsed_rule("batches_per_day: 2")
    list_once(inbox, rule)
    assert len(inbox.batches()) == 2
    assert statuses(inbox, *names) == ["accepted"] * 2 + ["waiting"] * 3
    waiting = next(name for name in names if inbox.status(name)["status"] == "waiting")
    assert "has started 2 batches on this UTC day" in inbox.status(waiting)["reason"]
    assert "raise batches_per_day" in inbox.status(waiting)["reason"]
    with monkeypatch.context() as patch:
        patch.setattr(inbox.storage, "get_with_info", None)
        list_once(inbox, rule)  # it reads nothing again on this day
    next_day(inbox)
    list_once(inbox, rule)
    assert len(inbox.batches()) == 4
    next_day(inbox)
    list_once(inbox, rule)
    assert statuses(inbox, *names) == ["accepted"] * 5


def test_a_raised_limit_starts_what_waits(inbox: Inbox) -> None:
    for number in range(3):
        inbox.put(f"{number}.yaml")
    list_once(inbox, inbox.parsed_rule("batches_per_day: 1"))
    assert len(inbox.batches()) == 1
    list_once(inbox, inbox.parsed_rule("batches_per_day: 3"))
    assert len(inbox.batches()) == 3


def test_the_limit_holds_however_many_listeners_race(inbox: Inbox) -> None:
    events = [inbox.put(f"{number}.yaml") for number in range(12)]
    rule, others = inbox.parsed_rule("batches_per_day: 5"), [inbox.another() for _ in range(4)]
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda at: others[at % 4].handle(events[at % 12], [rule]), range(24)))
    assert len(inbox.batches()) == 5


def test_an_event_that_is_repeated_or_refused_is_not_counted(inbox: Inbox) -> None:
    rule = inbox.parsed_rule("batches_per_day: 2")
    first = inbox.put("a.yaml")
    assert [inbox.handle(first, rule) for _ in range(3)] == [EventOutcome.STARTED] + [EventOutcome.KNOWN] * 2
    assert inbox.handle(inbox.put("bad.yaml", b"version: 1\n"), rule) is EventOutcome.REJECTED
    assert inbox.handle(inbox.put("b.yaml"), rule) is EventOutcome.STARTED
    assert inbox.handle(inbox.put("c.yaml"), rule) is EventOutcome.DEFERRED
    assert inbox.handle(first, rule) is EventOutcome.KNOWN


def test_a_batch_whose_listener_was_killed_before_it_was_created_starts_on_a_full_day(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, event = inbox.parsed_rule("batches_per_day: 1"), inbox.put("a.yaml")
    with monkeypatch.context() as killed:
        killed.setattr(Submission, "submit", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            inbox.handle(event, rule)
    assert inbox.handle(event, rule) is EventOutcome.STARTED
    assert statuses(inbox, "a.yaml") == ["accepted"]


def test_another_rule_for_the_same_object_starts_its_batch(inbox: Inbox) -> None:
    full, other = inbox.parsed_rule("batches_per_day: 1"), Rule("other", Source.LISTING, inbox.watch, Start.MANIFEST)
    inbox.handle(inbox.put("a.yaml"), full)
    outcomes = inbox.dispatcher.handle(inbox.put("b.yaml"), [full, other])
    assert outcomes == [EventOutcome.DEFERRED, EventOutcome.STARTED]


def test_gathered_images_wait_in_their_window(inbox: Inbox) -> None:
    rule = inbox.images(gather_s=0.001, batches_per_day=1)
    inbox.handle(inbox.put("1.jpg", a_jpeg(1)), rule)
    inbox.dispatcher.submit_gathered(rule)
    inbox.handle(inbox.put("2.jpg", a_jpeg(2)), rule)
    inbox.handle(inbox.put("3.jpg", a_jpeg(3)), rule)
    for _ in range(3):
        inbox.dispatcher.submit_gathered(rule)
    assert len(inbox.batches()) == 1
    assert statuses(inbox, "1.jpg", "2.jpg", "3.jpg") == ["accepted", "waiting", "waiting"]
    assert inbox.service.ledger.counters.read().deferred == 2
    next_day(inbox)
    inbox.dispatcher.submit_gathered(rule)
    assert statuses(inbox, "1.jpg", "2.jpg", "3.jpg") == ["accepted"] * 3


def test_a_message_of_sqs_stays_invisible_and_is_kept(
    inbox: Inbox, aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", aws)
    monkeypatch.setattr(sqs, "LONG_POLL_S", 1)
    monkeypatch.setattr(sqs, "VISIBILITY_TIMEOUT_S", 0)
    queue = Sqs(aws, tmp_path.name)
    rule = inbox.rule(queue_url=queue.url, batches_per_day=1)
    queue.send(inbox.notification(inbox.put("a.yaml")))
    queue.send(inbox.notification(inbox.put("b.yaml")))
    poller = Queue([rule])
    for _ in range(3):
        poller.run_once(inbox.dispatcher, threading.Event())
    poller.close()
    assert statuses(inbox, "a.yaml", "b.yaml") == ["accepted", "waiting"]
    assert queue.left() == 1


def test_a_pushed_event_is_answered_with_503_so_that_it_comes_again(inbox: Inbox) -> None:
    inbox.settings.triggers.write_text(
        f"triggers: [{{name: inbox, source: push, watch: '{inbox.watch}', start: manifest, batches_per_day: 1}}]\n"
    )
    tokens = {"api_token": SecretStr("a-token-of-the-api"), "events_token": SecretStr("a-token-of-events")}
    client = create_app(inbox.settings.model_copy(update=tokens)).test_client()
    headers = {"Authorization": "Bearer a-token-of-events"}
    for name, status in {"a.yaml": 200, "b.yaml": 503}.items():
        event = inbox.notification(inbox.put(name))
        assert client.post("/events/s3", data=event, headers=headers).status_code == status
    assert "when the event is delivered again" in inbox.status("b.yaml")["reason"]
