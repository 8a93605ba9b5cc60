"""Object events from SQS, emulated by moto; objects on a real S3 server."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.inbox import Inbox
from support.sqs_queues import Sqs
from support.waiting import WaitFor

from pipeline.doctor.findings import Severity
from pipeline.doctor.triggers import check_triggers
from pipeline.errors import StorageError
from pipeline.triggers import sqs
from pipeline.triggers.dispatch import Dispatcher
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.triggers.sqs import Queue, QueueError

RECORDED = Path(__file__).parent.parent / "data" / "events"


@pytest.fixture
def queue(aws: str, storage: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sqs:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", aws)
    monkeypatch.setattr(sqs, "LONG_POLL_S", 1)
    return Sqs(aws, tmp_path.name)


def a_rule(inbox: Inbox, queue: Sqs) -> Rule:
    return Rule("inbox", Source.SQS, inbox.watch, Start.MANIFEST, queue_url=queue.url)


def poll(inbox: Inbox, queue: Sqs, dispatcher: Dispatcher | None = None, rule: Rule | None = None) -> None:
    poller = Queue([rule or a_rule(inbox, queue)])
    poller.run_once(dispatcher or inbox.dispatcher, threading.Event())
    poller.close()


def test_a_message_is_deleted_when_its_batch_is_on_the_ledger(inbox: Inbox, queue: Sqs) -> None:
    queue.send(inbox.notification(inbox.put("a b.yaml"), inbox.put("c.yaml")))
    poll(inbox, queue)
    assert len(inbox.batches()) == 2
    assert queue.left() == 0


def test_a_listener_crash_before_the_delete_keeps_the_message_and_starts_no_second_batch(
    inbox: Inbox, queue: Sqs, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    class Crash(Exception):
        pass

    def crash(self: Queue, messages: object) -> None:
        raise Crash

    queue.send(inbox.notification(inbox.put("a.yaml")))
    monkeypatch.setattr(sqs, "VISIBILITY_TIMEOUT_S", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Queue, "_delete", crash)
        with pytest.raises(Crash):
            poll(inbox, queue)
    assert (len(inbox.batches()), queue.left()) == (1, 1)

    def deleted() -> bool:
        poll(inbox, queue)
        return queue.left() == 0

    wait_for(deleted, "the message to be deleted")
    assert len(inbox.batches()) == 1


@pytest.mark.parametrize(
    "name", ["aws_test", "aws_delete_marker", "aws_put", "eventbridge_created", "sns_notification"]
)
def test_a_message_that_starts_nothing_is_deleted(inbox: Inbox, queue: Sqs, name: str) -> None:
    queue.send((RECORDED / f"{name}.json").read_text())
    poll(inbox, queue)
    assert queue.left() == 0
    assert inbox.batches() == []


def test_an_invalid_message_moves_to_the_dead_letter_queue(
    inbox: Inbox, queue: Sqs, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    monkeypatch.setattr(sqs, "VISIBILITY_TIMEOUT_S", 1)
    queue.send("invalid", inbox.notification(inbox.put("a.yaml")))

    def is_dead_letter() -> bool:
        poll(inbox, queue)
        return queue.left(queue.dead_letters) == 1

    wait_for(is_dead_letter, "the invalid message in the dead-letter queue")
    assert len(inbox.batches()) == 1
    assert queue.left() == 0


def test_while_s3_is_unavailable_the_message_stays(inbox: Inbox, queue: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.send(inbox.notification(inbox.put("a.yaml")))

    def unavailable(uri: str, count: int) -> Any:
        raise StorageError("S3 does not answer", retryable=True)

    monkeypatch.setattr(inbox.storage, "get_with_info", unavailable)
    poll(inbox, queue)
    assert queue.left() == 1
    assert inbox.batches() == []


def test_a_message_stays_invisible_while_it_is_processed(
    inbox: Inbox, queue: Sqs, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    monkeypatch.setattr(sqs, "VISIBILITY_TIMEOUT_S", 2)
    monkeypatch.setattr(sqs, "_EXTEND_INTERVAL_S", 0.5)
    queue.send(inbox.notification(inbox.put("a.yaml")))
    extended, proceed = threading.Event(), threading.Event()
    good, extend, times = inbox.storage.get_with_info, Queue._set_visibility, []

    def slow(uri: str, count: int) -> Any:
        assert proceed.wait(30)
        return good(uri, count)

    def note(self: Queue, messages: Any, after_s: int) -> None:
        extend(self, messages, after_s)
        times.append(after_s)
        if len(times) >= 8:
            extended.set()

    monkeypatch.setattr(inbox.storage, "get_with_info", slow)
    monkeypatch.setattr(Queue, "_set_visibility", note)
    working = threading.Thread(target=poll, args=(inbox, queue))
    working.start()
    assert extended.wait(30), "visibility is not extended"
    # Twice its first visibility timeout has passed, and it is still invisible.
    assert queue.client.receive_message(QueueUrl=queue.url).get("Messages", []) == []
    proceed.set()
    working.join(30)
    assert queue.left() == 0


def test_a_stopping_listener_makes_its_messages_visible_again(inbox: Inbox, queue: Sqs) -> None:
    queue.send(inbox.notification(inbox.put("a.yaml")))
    stopping = threading.Event()
    stopping.set()
    Queue([a_rule(inbox, queue)]).run_once(inbox.dispatcher, stopping)
    assert len(queue.client.receive_message(QueueUrl=queue.url).get("Messages", [])) == 1
    assert inbox.batches() == []


def test_messages_from_sns_to_the_queue_are_accepted(inbox: Inbox, queue: Sqs, aws: str) -> None:
    sns = boto3.client("sns", endpoint_url=aws)
    arn = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    for raw in ("false", "true"):
        topic = sns.create_topic(Name=f"topic-{raw}")["TopicArn"]
        attributes = {"RawMessageDelivery": raw}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
        sns.publish(TopicArn=topic, Message=inbox.notification(inbox.put(f"{raw}.yaml")))
    poll(inbox, queue)
    assert len(inbox.batches()) == 2
    assert queue.left() == 0


def test_an_unknown_queue_is_an_error_with_its_name(inbox: Inbox, queue: Sqs) -> None:
    rule = Rule("inbox", Source.SQS, inbox.watch, Start.MANIFEST, queue_url=f"{queue.url}-none")
    with pytest.raises(QueueError, match="NonExistentQueue"):
        poll(inbox, queue, rule=rule)


def test_the_doctor_checks_the_bucket_and_the_queue(inbox: Inbox, queue: Sqs) -> None:
    inbox.settings.triggers.write_text(
        f"triggers:\n"
        f"- {{name: good, source: sqs, queue_url: '{queue.url}', watch: '{inbox.watch}', start: manifest}}\n"
        f"- {{name: bad, source: sqs, queue_url: '{queue.url}-none', watch: '{inbox.watch}', start: manifest}}\n"
        f"- {{name: worse, source: listing, watch: 's3://no-such-bucket/', start: manifest}}\n"
    )
    good, bad, worse, listener = check_triggers(inbox.settings)
    assert [finding.severity for finding in (good, bad, worse)] == [Severity.OK, Severity.WRONG, Severity.WRONG]
    assert (listener.subject, listener.severity) == ("listener", Severity.NOTE)
    assert "queue answers" in good.message
    assert "NonExistentQueue" in bad.message
    assert list(inbox.storage.list(inbox.watch)) == []
    inbox.settings.triggers.write_text("triggers: [{name: x}]\n")
    (broken,) = check_triggers(inbox.settings)
    assert broken.severity is Severity.WRONG
    assert ":1:" in broken.message
