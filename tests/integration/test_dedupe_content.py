"""`dedupe: content`: in a bucket with versions, the same bytes under the same key start one batch."""

from __future__ import annotations

import threading
from dataclasses import replace
from uuid import uuid4

import pytest
from support.images import a_jpeg
from support.inbox import MANIFEST, Inbox

from pipeline.domain.states import BatchState
from pipeline.errors import InvalidTriggers
from pipeline.local.servers import S3Env
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.triggers.dispatch import EventOutcome
from pipeline.triggers.events import ObjectEvent
from pipeline.triggers.prefix_poller import PrefixPoller
from pipeline.triggers.rule import Dedupe, Rule, Source, Start

OTHER = MANIFEST.replace(b"smiles", b"runs")


@pytest.fixture
def versioned(redis_url: str, s3_server: S3Env, storage: Storage, bucket: str) -> Inbox:
    """A watched prefix in a bucket with versions."""
    name = f"versioned-{uuid4().hex[:12]}"
    storage._s3.create_bucket(Bucket=name)
    storage._s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    settings = Settings(
        redis_url=redis_url, s3_endpoint=s3_server.endpoint, output=bucket, wiro_api_url="http://127.0.0.1:1"
    )
    return Inbox(settings, storage, f"s3://{name}/")


def put(inbox: Inbox, name: str, data: bytes = MANIFEST) -> ObjectEvent:
    """Put an object and return its event, with the version."""
    event = inbox.put(name, data)
    info = inbox.storage.info(event.uri)
    assert info
    assert info.version, "the bucket has no versions"
    return replace(event, version_id=info.version)


def rules(inbox: Inbox) -> tuple[Rule, Rule]:
    """The rule of triggers.yaml without the key, and with `dedupe: content`."""
    return inbox.parsed_rule("every_s: 1"), inbox.parsed_rule("every_s: 1, dedupe: content")


def list_once(inbox: Inbox, rule: Rule) -> None:
    inbox.dispatcher.store._redis.delete("dailies:trigger:inbox:turn")
    poller = PrefixPoller(rule)
    poller.run_once(inbox.dispatcher, threading.Event())
    poller.close()


def test_events_of_the_same_bytes_start_one_batch_with_the_key_and_two_without(versioned: Inbox) -> None:
    default, content = rules(versioned)
    assert versioned.handle(put(versioned, "a.yaml"), content) is EventOutcome.STARTED
    again = put(versioned, "a.yaml")
    assert versioned.handle(again, content) is EventOutcome.KNOWN
    assert len(versioned.batches()) == 1
    assert versioned.handle(put(versioned, "a.yaml", OTHER), content) is EventOutcome.STARTED
    assert versioned.handle(put(versioned, "b.yaml"), content) is EventOutcome.STARTED
    assert len(versioned.batches()) == 3
    for _ in range(2):
        assert versioned.handle(put(versioned, "c.yaml"), default) is EventOutcome.STARTED
    assert len(versioned.batches()) == 5


def test_bytes_that_come_back_after_others_start_no_batch(versioned: Inbox) -> None:
    _, content = rules(versioned)
    for data, outcome in ((MANIFEST, "started"), (OTHER, "started"), (MANIFEST, "known")):
        assert versioned.handle(put(versioned, "a.yaml", data), content) == outcome


@pytest.mark.parametrize(("dedupe", "batches"), [("content", 1), ("version", 2)])
def test_a_listing_finds_the_same_bytes_again(versioned: Inbox, dedupe: str, batches: int) -> None:
    rule = versioned.parsed_rule(f"every_s: 1, dedupe: {dedupe}")
    for _ in range(2):
        put(versioned, "a.yaml")
        # The listing has times in whole seconds: it may lack the second upload.
        versioned.dispatcher.store._redis.delete("dailies:trigger:inbox:listed")
        list_once(versioned, rule)
    assert len(versioned.batches()) == batches


def test_the_same_picture_is_gathered_once(versioned: Inbox) -> None:
    rule = versioned.images(gather_s=0.001, dedupe=Dedupe.CONTENT)
    assert versioned.handle(put(versioned, "1.jpg", a_jpeg(1)), rule) is EventOutcome.GATHERED
    assert versioned.handle(put(versioned, "1.jpg", a_jpeg(1)), rule) is EventOutcome.KNOWN
    versioned.dispatcher.submit_gathered(rule)
    # Redis may have forgotten that it was gathered: the status file has not.
    versioned.dispatcher.store._redis.delete("dailies:trigger:inbox:taken")
    assert versioned.handle(put(versioned, "1.jpg", a_jpeg(1)), rule) is EventOutcome.KNOWN
    assert len(versioned.batches()) == 1


def test_the_status_file_has_the_end_of_the_batch_also_after_the_bytes_were_put_again(versioned: Inbox) -> None:
    _, content = rules(versioned)
    versioned.handle(put(versioned, "a.yaml"), content)
    (batch_id,) = versioned.batches()
    versioned.storage.delete(f"{versioned.watch}a.yaml.status.json")
    put(versioned, "a.yaml")
    versioned.service.ledger.batches.set_status(batch_id, BatchState.SUCCEEDED, among=[BatchState.QUEUED])
    (version,) = versioned.dispatcher.store.objects(batch_id)
    versioned.dispatcher.status_files.ended(version, versioned.service.ledger.batches.get(batch_id))
    assert versioned.status("a.yaml")["batch_status"] == "succeeded"


def test_the_key_has_two_values() -> None:
    assert Rule("inbox", Source.LISTING, "s3://b/", Start.MANIFEST).dedupe is Dedupe.VERSION


@pytest.mark.parametrize("value", ["etag", "true", "[content]", "''"])
def test_any_other_value_is_an_error_at_its_line(inbox: Inbox, value: str) -> None:
    with pytest.raises(InvalidTriggers, match=r"triggers\.yaml:2:\d+: dedupe") as caught:
        inbox.parsed_rule(f"dedupe: {value}")
    assert "content" in str(caught.value)
