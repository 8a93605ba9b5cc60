"""Messages about S3 objects, in the formats of AWS and MinIO."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.triggers.events import Kind, NotAnEvent, ObjectEvent, parse

RECORDED = Path(__file__).parent.parent / "data" / "events"


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.json").read_text()


def only_event(text: str) -> ObjectEvent:
    (event,) = parse(text)
    return event


def a_notification(**s3_object: Any) -> str:
    s3 = {"bucket": {"name": "films"}, "object": {"key": "k", "size": 1, "eTag": "e", **s3_object}}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": s3}]})


def test_a_plain_notification_of_aws_has_its_key_decoded() -> None:
    assert only_event(recorded("aws_put")) == ObjectEvent(
        kind=Kind.CREATED,
        bucket="films",
        key="inbox/red flower + straße.yaml",
        etag="d41d8cd98f00b204e9800998ecf8427e",
        size=1024,
        sequencer="0055AED6DCD90281E5",
    )


def test_a_versioned_upload_in_parts_names_its_version() -> None:
    event = only_event(recorded("aws_multipart_versioned"))
    assert (event.kind, event.version_id, event.etag) == (
        Kind.CREATED,
        "096fKKXTRTtl3on89fVO.nfljtsv6qko",
        "3858f62230ac3c915f300c664312c11f-3",
    )


def test_a_notification_of_minio_is_accepted() -> None:
    event = only_event(recorded("minio_put"))
    assert (event.kind, event.bucket, event.key, event.size) == (Kind.CREATED, "films", "inbox/red flower.yaml", 1024)


def test_keys_of_eventbridge_are_not_decoded() -> None:
    event = only_event(recorded("eventbridge_created"))
    assert (event.kind, event.key) == (Kind.CREATED, "inbox/red+flower 100%.yaml")
    assert event.version_id == "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"


@pytest.mark.parametrize("name", ["aws_delete_marker", "minio_delete", "eventbridge_deleted"])
def test_a_deletion_is_recognized(name: str) -> None:
    assert only_event(recorded(name)).kind is Kind.REMOVED


def test_the_test_event_is_recognized() -> None:
    assert only_event(recorded("aws_test")) == ObjectEvent(Kind.TEST, "films")


def test_a_notification_inside_sns_is_unwrapped() -> None:
    assert parse(recorded("sns_notification")) == parse(recorded("aws_put"))


def test_an_eventbridge_event_inside_sns_is_unwrapped() -> None:
    wrapped = json.dumps({"Type": "Notification", "Message": recorded("eventbridge_created")})
    assert parse(wrapped) == parse(recorded("eventbridge_created"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ObjectCreated:Copy", Kind.CREATED),
        ("s3:ObjectCreated:Post", Kind.CREATED),
        ("LifecycleExpiration:Delete", Kind.REMOVED),
        ("ObjectTagging:Put", Kind.OTHER),
        ("s3:ObjectAccessed:Get", Kind.OTHER),
    ],
)
def test_only_new_content_is_a_creation(name: str, kind: Kind) -> None:
    assert only_event(a_notification().replace("ObjectCreated:Put", name)).kind is kind


def test_several_records_are_several_events() -> None:
    records = [json.loads(a_notification(key=f"{n}"))["Records"][0] for n in range(3)]
    assert [event.key for event in parse(json.dumps({"Records": records}))] == ["0", "1", "2"]


def test_the_version_id_null_is_none() -> None:
    assert only_event(a_notification(versionId="null")).version_id == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "{}",
        "null",
        '{"Records": []}',
        '{"Records": {}}',
        '{"Records": [1]}',
        '{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        '{"Type": "Notification"}',
        '{"Type": "Notification", "Message": "not json"}',
        '{"source": "aws.s3", "detail-type": "Object Created"}',
        '{"source": "aws.ec2", "detail": {}}',
        a_notification(key=7),
        "[" * 100_000,
        json.dumps({"Records": [{}] * 1001}),
    ],
)
def test_other_messages_are_refused(text: str) -> None:
    with pytest.raises(NotAnEvent):
        parse(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Records",
                        "s3",
                        "object",
                        "bucket",
                        "name",
                        "key",
                        "eventName",
                        "Type",
                        "Message",
                        "source",
                        "detail",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=30,
    )
)
def test_any_json_is_parsed_or_refused(document: object) -> None:
    with suppress(NotAnEvent):
        parse(json.dumps(document))
