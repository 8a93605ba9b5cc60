"""POST /events/s3: authentication, formats and repeated events."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from support.inbox import Inbox

from pipeline.settings import Settings
from pipeline.triggers import sns
from pipeline.web import create_app
from pipeline.web.callbacks.s3_events import MAX_EVENT_BYTES

RECORDED = Path(__file__).parent.parent / "data" / "events"
TOPIC = "arn:aws:sns:us-east-1:123456789012:dailies"
SNS = {"x-amz-sns-message-type": "Notification", "Content-Type": "text/plain; charset=UTF-8"}
BEARER = {"Authorization": "Bearer events-token"}


@pytest.fixture
def settings(inbox: Inbox) -> Settings:
    inbox.settings.triggers.write_text(
        f"triggers:\n- {{name: inbox, source: push, watch: '{inbox.watch}', start: manifest, topic_arn: '{TOPIC}'}}\n"
        f"- {{name: faces, source: push, watch: '{inbox.watch}faces/', start: images, prompts: [smiles]}}\n"
        f"- {{name: listed, source: listing, watch: '{inbox.watch}', start: manifest}}\n"
    )
    tokens = {"api_token": SecretStr("api-token"), "events_token": SecretStr("events-token")}
    return inbox.settings.model_copy(update=tokens)


@pytest.fixture
def app(settings: Settings) -> Flask:
    return create_app(settings)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def status(client: FlaskClient, text: str | bytes, headers: dict[str, str] | None = None, **more: Any) -> int:
    return client.post("/events/s3", data=text, headers=headers, **more).status_code


BASIC = base64.b64encode(b"sns:events-token").decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer events-token"},
        {"Authorization": "Bearer api-token"},
        {"Authorization": "events-token"},
        {"x-api-key": "events-token"},
        {"Authorization": f"Basic {BASIC}"},
    ],
)
def test_a_sender_with_a_token_is_accepted(client: FlaskClient, inbox: Inbox, headers: dict[str, str]) -> None:
    assert status(client, inbox.notification(inbox.put("a b.yaml")), headers) == 200
    (batch_id,) = inbox.batches()
    assert inbox.service.ledger.batches.get(batch_id).trigger == "trigger:inbox"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"x-api-key": ""},
        {"Authorization": "Basic !!!"},
        {"x-amz-sns-message-type": "Notification"},
        {"x-amz-sns-message-type": "SubscriptionConfirmation"},
    ],
)
def test_a_sender_without_a_token_is_refused(client: FlaskClient, inbox: Inbox, headers: dict[str, str]) -> None:
    assert status(client, inbox.notification(inbox.put("a.yaml")), headers) == 401
    assert inbox.batches() == []


def test_the_events_token_is_good_for_events_only(client: FlaskClient) -> None:
    assert client.get("/api/v1/batches", headers=BEARER).status_code == 401


@pytest.mark.parametrize("events_token", [None, SecretStr("events-token")])
def test_without_a_configured_api_token_no_events_are_accepted(
    inbox: Inbox, settings: Settings, events_token: SecretStr | None
) -> None:
    client = create_app(settings.model_copy(update={"api_token": None, "events_token": events_token})).test_client()
    text = inbox.notification(inbox.put("a.yaml"))
    assert [status(client, text, headers) for headers in ({}, BEARER, SNS)] == [503] * 3
    assert inbox.batches() == []


def test_events_of_minio_and_eventbridge_start_batches(client: FlaskClient, inbox: Inbox) -> None:
    for name, minio in (("m.yaml", True), ("e.yaml", False)):
        event = inbox.put(name)
        if minio:
            document = json.loads((RECORDED / "minio_put.json").read_text())
            source = document["Records"][0]["s3"]
            source["object"] |= {"key": event.key.replace("/", "%2F"), "eTag": event.etag, "size": event.size}
        else:
            document = json.loads((RECORDED / "eventbridge_created.json").read_text())
            source = document["detail"]
            source["object"] |= {"key": event.key, "etag": event.etag, "version-id": "", "size": event.size}
        source["bucket"]["name"] = event.bucket
        assert status(client, json.dumps(document), BEARER) == 200
    assert len(inbox.batches()) == 2


def test_a_repeated_event_returns_200_and_starts_nothing(client: FlaskClient, inbox: Inbox) -> None:
    text = inbox.notification(inbox.put("a.yaml"))
    assert [status(client, text, BEARER) for _ in range(3)] == [200] * 3
    assert len(inbox.batches()) == 1


@pytest.mark.parametrize(
    "name", ["aws_test", "aws_folder", "aws_delete_marker", "minio_delete", "eventbridge_deleted", "aws_put"]
)
def test_an_event_that_starts_nothing_returns_200(client: FlaskClient, inbox: Inbox, name: str) -> None:
    assert status(client, (RECORDED / f"{name}.json").read_text(), BEARER) == 200
    assert inbox.batches() == []


@pytest.mark.parametrize("text", [b"", b"hello", b"{}", b"\xff", b"[" * 100_000, b'{"Records": [7]}'])
def test_garbage_is_a_bad_request(client: FlaskClient, text: bytes) -> None:
    answer = client.post("/events/s3", data=text, headers=BEARER)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


def test_a_message_that_is_too_long_is_not_read(client: FlaskClient) -> None:
    assert status(client, b" " * (MAX_EVENT_BYTES + 1), BEARER) == 413


def test_while_s3_is_unavailable_the_sender_has_to_repeat_the_event(inbox: Inbox, settings: Settings) -> None:
    away = create_app(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"})).test_client()
    text = inbox.notification(inbox.put("a.yaml"))
    assert status(away, text, BEARER) == 503
    assert inbox.batches() == []


def test_an_edited_rule_file_takes_effect_at_once(client: FlaskClient, inbox: Inbox, settings: Settings) -> None:
    settings.triggers.write_text("triggers: []\n")
    text = inbox.notification(inbox.put("a.yaml"))
    assert status(client, text, BEARER) == 200
    assert inbox.batches() == []


class FakeSns:
    """SNS as moto emulates it: the messages, and what is fetched from it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.fetched: list[str] = []
        self._sns = boto3.client("sns", endpoint_url=endpoint)
        self._sqs = boto3.client("sqs", endpoint_url=endpoint)
        self._queue = self._sqs.create_queue(QueueName="of-sns")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        assert self._sns.create_topic(Name="dailies")["TopicArn"] == TOPIC
        self._sns.subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=arn)

    def publish(self, text: str) -> dict[str, Any]:
        """Return the message that subscribers receive."""
        self._sns.publish(TopicArn=TOPIC, Message=text)
        (message,) = self._sqs.receive_message(QueueUrl=self._queue)["Messages"]
        self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        document = json.loads(message["Body"])
        assert isinstance(document, dict)
        return document

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        path = url.removeprefix("https://").partition("/")[2]
        # moto finds the service by this header.
        scope = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260504/us-east-1/sns/aws4_request"}
        return urllib3.request("GET", f"{self.endpoint}/{path}", headers=scope, retries=False).data


@pytest.fixture
def amazon(aws: str, storage: object, monkeypatch: pytest.MonkeyPatch) -> FakeSns:
    amazon = FakeSns(aws)
    monkeypatch.setattr(sns, "fetch", amazon.fetch)
    return amazon


def test_a_message_signed_by_sns_for_a_known_topic_needs_no_token(
    amazon: FakeSns, client: FlaskClient, inbox: Inbox
) -> None:
    message = amazon.publish(inbox.notification(inbox.put("a.yaml")))
    assert status(client, json.dumps(message), SNS) == 200
    assert len(inbox.batches()) == 1
    assert all(
        url.startswith("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-") for url in amazon.fetched
    )


def test_a_changed_sns_message_is_refused(amazon: FakeSns, client: FlaskClient, inbox: Inbox) -> None:
    message = amazon.publish(inbox.notification(inbox.put("a.yaml")))
    message["Message"] = inbox.notification(inbox.put("b.yaml"))
    assert status(client, json.dumps(message), SNS) == 401
    assert inbox.batches() == []


def test_an_unknown_topic_is_refused_before_anything_is_fetched(
    amazon: FakeSns, client: FlaskClient, inbox: Inbox
) -> None:
    message = amazon.publish(inbox.notification(inbox.put("a.yaml")))
    message["TopicArn"] = "arn:aws:sns:us-east-1:666666666666:dailies"
    assert status(client, json.dumps(message), SNS) == 401
    assert amazon.fetched == []


def test_an_unsigned_subscription_is_not_confirmed_even_with_a_token(amazon: FakeSns, client: FlaskClient) -> None:
    text = (RECORDED / "sns_confirmation.json").read_text()
    assert status(client, text, {"x-amz-sns-message-type": "SubscriptionConfirmation"}) == 401
    assert status(client, text, BEARER) == 400
    assert not any("ConfirmSubscription" in url for url in amazon.fetched)


def test_an_event_is_sent_again_while_the_rules_cannot_be_read(
    client: FlaskClient, settings: Settings, inbox: Inbox
) -> None:
    message, text = inbox.notification(inbox.put("a.yaml")), settings.triggers.read_text()
    for is_written in (True, False):
        settings.triggers.write_text("triggers: [") if is_written else settings.triggers.unlink()
        fresh = create_app(settings).test_client()
        assert status(fresh, message, BEARER) == 503
        assert status(fresh, json.dumps({"Event": "s3:TestEvent", "Bucket": "b"}), BEARER) == 200
    settings.triggers.write_text(text)
    assert status(fresh, message, BEARER) == 200
    assert len(inbox.batches()) == 1


def test_a_message_with_a_record_that_cannot_be_read_is_named_once(client: FlaskClient, inbox: Inbox) -> None:
    document = json.loads(inbox.notification(inbox.put("a.yaml")))
    document["Records"].append({"s3": {}})
    assert [status(client, json.dumps(document), BEARER) for _ in range(2)] == [400, 400]
    assert len(inbox.batches()) == 1
    (one,) = inbox.service.ledger.set_aside.newest(9)
    assert (one.queue, one.reason) == ("messages of push", "The message has no 'object'.")


@pytest.mark.parametrize("key", ["50%ef x.yaml", "100%.yaml", "%FC.yaml"])
def test_a_key_that_its_server_does_not_encode_is_found(client: FlaskClient, inbox: Inbox, key: str) -> None:
    event = inbox.put(key)
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": event.bucket}, "object": {"key": event.key}}}
    assert status(client, json.dumps({"Records": [record]}), BEARER) == 200
    assert len(inbox.batches()) == 1
