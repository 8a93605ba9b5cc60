"""SQS, as moto plays it; objects on a real S3 server."""

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
    monkeypatch.setattr(sqs, "WAIT_S", 1)
    return Sqs(aws, tmp_path.name)


def a_rule(inbox: Inbox, queue: Sqs) -> Rule:
    return Rule("inbox", Source.SQS, inbox.watch, Start.MANIFEST, queue_url=queue.url)


def poll(inbox: Inbox, queue: Sqs, dispatcher: Dispatcher | None = None, rule: Rule | None = None) -> None:
    polled = Queue([rule or a_rule(inbox, queue)])
    polled.step(dispatcher or inbox.dispatcher, threading.Event())
    polled.close()


def test_a_message_is_deleted_when_its_batch_is_on_the_ledger(inbox: Inbox, queue: Sqs) -> None:
    queue.send(inbox.notification(inbox.drop("a b.yaml"), inbox.drop("c.yaml")))
    poll(inbox, queue)
    assert len(inbox.batches()) == 2
    assert queue.left() == 0


def test_a_listener_that_dies_before_it_deletes_leaves_the_message_and_makes_no_second_batch(
    inbox: Inbox, queue: Sqs, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    class Dies(Exception):
        pass

    def die(self: Queue, messages: object) -> None:
        raise Dies

    queue.send(inbox.notification(inbox.drop("a.yaml")))
    monkeypatch.setattr(sqs, "VISIBLE_AGAIN_S", 1)
    with monkeypatch.context() as dying:
        dying.setattr(Queue, "_delete", die)
        with pytest.raises(Dies):
            poll(inbox, queue)
    assert (len(inbox.batches()), queue.left()) == (1, 1)

    def gone() -> bool:
        poll(inbox, queue)
        return queue.left() == 0

    wait_for(gone, "the message to be deleted")
    assert len(inbox.batches()) == 1


@pytest.mark.parametrize(
    "name", ["aws_test", "aws_delete_marker", "aws_put", "eventbridge_created", "sns_notification"]
)
def test_word_that_starts_nothing_is_not_kept(inbox: Inbox, queue: Sqs, name: str) -> None:
    queue.send((RECORDED / f"{name}.json").read_text())
    poll(inbox, queue)
    assert queue.left() == 0
    assert inbox.batches() == []


def test_what_cannot_be_understood_is_put_aside_by_the_queue(
    inbox: Inbox, queue: Sqs, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    monkeypatch.setattr(sqs, "VISIBLE_AGAIN_S", 1)
    queue.send("poison", inbox.notification(inbox.drop("a.yaml")))

    def aside() -> bool:
        poll(inbox, queue)
        return queue.left(queue.dead) == 1

    wait_for(aside, "the poison among the dead letters")
    assert len(inbox.batches()) == 1
    assert queue.left() == 0


def test_while_s3_is_away_the_message_stays(inbox: Inbox, queue: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.send(inbox.notification(inbox.drop("a.yaml")))

    def away(uri: str, count: int) -> Any:
        raise StorageError("S3 does not answer", retryable=True)

    monkeypatch.setattr(inbox.storage, "get_with_info", away)
    poll(inbox, queue)
    assert queue.left() == 1
    assert inbox.batches() == []


def test_a_message_stays_hidden_while_it_is_worked_on(
    inbox: Inbox, queue: Sqs, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    monkeypatch.setattr(sqs, "VISIBLE_AGAIN_S", 2)
    monkeypatch.setattr(sqs, "_EXTEND_EVERY_S", 0.5)
    queue.send(inbox.notification(inbox.drop("a.yaml")))
    extended, go_on = threading.Event(), threading.Event()
    good, extend, times = inbox.storage.get_with_info, Queue._set_visibility, []

    def slow(uri: str, count: int) -> Any:
        assert go_on.wait(30)
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
    # Twice its first visibility has passed, and still nobody else is given it.
    assert queue.client.receive_message(QueueUrl=queue.url).get("Messages", []) == []
    go_on.set()
    working.join(30)
    assert queue.left() == 0


def test_a_stopping_listener_gives_back_what_it_was_given(inbox: Inbox, queue: Sqs) -> None:
    queue.send(inbox.notification(inbox.drop("a.yaml")))
    stopping = threading.Event()
    stopping.set()
    Queue([a_rule(inbox, queue)]).step(inbox.dispatcher, stopping)
    assert len(queue.client.receive_message(QueueUrl=queue.url).get("Messages", [])) == 1
    assert inbox.batches() == []


def test_what_sns_passes_on_to_the_queue_is_understood(inbox: Inbox, queue: Sqs, aws: str) -> None:
    sns = boto3.client("sns", endpoint_url=aws)
    arn = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    for raw in ("false", "true"):
        topic = sns.create_topic(Name=f"topic-{raw}")["TopicArn"]
        attributes = {"RawMessageDelivery": raw}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
        sns.publish(TopicArn=topic, Message=inbox.notification(inbox.drop(f"{raw}.yaml")))
    poll(inbox, queue)
    assert len(inbox.batches()) == 2
    assert queue.left() == 0


def test_an_unknown_queue_is_an_error_in_words(inbox: Inbox, queue: Sqs) -> None:
    rule = Rule("inbox", Source.SQS, inbox.watch, Start.MANIFEST, queue_url=f"{queue.url}-none")
    with pytest.raises(QueueError, match="NonExistentQueue"):
        poll(inbox, queue, rule=rule)


def test_the_doctor_looks_at_the_bucket_and_the_queue(inbox: Inbox, queue: Sqs) -> None:
    inbox.settings.triggers.write_text(
        f"triggers:\n"
        f"- {{name: good, source: sqs, queue_url: '{queue.url}', watch: '{inbox.watch}', start: manifest}}\n"
        f"- {{name: bad, source: sqs, queue_url: '{queue.url}-none', watch: '{inbox.watch}', start: manifest}}\n"
        f"- {{name: worse, source: listing, watch: 's3://no-such-bucket/', start: manifest}}\n"
    )
    good, bad, worse = check_triggers(inbox.settings)
    assert [finding.severity for finding in (good, bad, worse)] == [Severity.OK, Severity.WRONG, Severity.WRONG]
    assert "queue answers" in good.message
    assert "NonExistentQueue" in bad.message
    assert list(inbox.storage.list(inbox.watch)) == []
    inbox.settings.triggers.write_text("triggers: [{name: x}]\n")
    (broken,) = check_triggers(inbox.settings)
    assert broken.severity is Severity.WRONG
    assert ":1:" in broken.message
