"""Object events become batches, on a real Redis and a real S3 server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import pytest
from redis import Redis
from support.archiving import AT_ONCE, keys_of
from support.ended_batch import write_results
from support.images import HTML, JPEG, a_jpeg
from support.inbox import MANIFEST, Inbox
from support.manifests import parse_manifest

from pipeline.batches.retention import Retention
from pipeline.errors import InvalidSettings, StorageError
from pipeline.storage.s3 import split
from pipeline.triggers.dispatch import MISSING_WAIT_S, EventOutcome
from pipeline.triggers.events import Kind, ObjectEvent
from pipeline.triggers.object_manifest import images_manifest
from pipeline.triggers.rule import Rule, Source, Start


def test_a_manifest_starts_a_batch_and_its_status_file_names_the_batch(inbox: Inbox) -> None:
    assert inbox.handle(inbox.put("a b/ü.yaml")) is EventOutcome.STARTED
    (batch_id,) = inbox.batches()
    row = inbox.service.ledger.batches.get(batch_id)
    assert (row.trigger, row.name, row.total) == ("trigger:inbox", "la-street", 1)
    status = inbox.status("a b/ü.yaml")
    assert (status["status"], status["batch_id"], status["output"]) == ("accepted", batch_id, row.output)


def test_the_same_version_is_one_batch_however_many_events_and_listeners(inbox: Inbox) -> None:
    event = inbox.put("a.yaml")
    others = [inbox.another() for _ in range(4)]
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(lambda dispatcher: dispatcher.handle(event, [inbox.rule()]), others * 3))
    assert len(inbox.batches()) == 1
    assert inbox.handle(event) is EventOutcome.KNOWN


def test_new_content_under_the_same_key_is_a_new_batch_and_the_old_event_starts_nothing(inbox: Inbox) -> None:
    first = inbox.put("a.yaml")
    assert inbox.handle(first) is EventOutcome.STARTED
    second = inbox.put("a.yaml", MANIFEST.replace(b"smiles", b"runs"))
    assert inbox.handle(second) is EventOutcome.STARTED
    assert inbox.handle(first) is EventOutcome.KNOWN
    assert len(inbox.batches()) == 2
    assert inbox.status("a.yaml")["batch_id"] == inbox.batches()[0]


def test_events_in_the_wrong_order_start_the_current_version_once(inbox: Inbox) -> None:
    first = inbox.put("a.yaml")
    second = inbox.put("a.yaml", MANIFEST.replace(b"smiles", b"runs"))
    assert inbox.handle(second) is EventOutcome.STARTED
    assert inbox.handle(first) is EventOutcome.KNOWN
    assert len(inbox.batches()) == 1


def test_a_batch_that_redis_has_lost_is_not_started_again_by_the_objects_in_its_folder(inbox: Inbox) -> None:
    text = MANIFEST + f"output: {inbox.watch}out/\n".encode()
    inbox.service.submission.submit(parse_manifest(text.decode()), "b", trigger="test", folder=None)
    stored = inbox.storage.get(f"{inbox.watch}out/b/manifest.yaml")
    assert stored
    events = [(inbox.put("out/b/manifest.yaml", stored), inbox.rule())]
    events.append((inbox.put("out/b/items/1/0.jpg", JPEG), inbox.images()))
    assert [inbox.handle(*event) for event in events] == [EventOutcome.IGNORED] * 2
    inbox.service.ledger.redis.flushall()
    assert [inbox.handle(*event) for event in events] == [EventOutcome.IGNORED] * 2
    assert inbox.handle(inbox.put("other/manifest.yaml")) is EventOutcome.STARTED


def test_two_objects_with_the_same_content_are_two_batches(inbox: Inbox) -> None:
    assert inbox.handle(inbox.put("a.yaml")) is EventOutcome.STARTED
    assert inbox.handle(inbox.put("b.yaml")) is EventOutcome.STARTED
    assert len(inbox.batches()) == 2


def test_the_status_file_of_a_rejected_manifest_has_all_problems_with_their_lines(inbox: Inbox) -> None:
    text = b"version: 1\nname: Bad Name\nitems:\n- {image: faces/1.jpg, prompt: x}\n- {prompt: y, colour: red}\n"
    assert inbox.handle(inbox.put("a.yaml", text)) is EventOutcome.REJECTED
    status = inbox.status("a.yaml")
    assert status["status"] == "rejected"
    assert {error["line"] for error in status["errors"]} >= {2, 4}
    assert inbox.batches() == []


@pytest.mark.parametrize("secret", ["/etc/passwd", "../../etc/passwd", "file:///etc/passwd"])
def test_a_manifest_from_s3_reads_no_file_of_the_server(inbox: Inbox, secret: str) -> None:
    text = f"version: 1\nname: x\nitems:\n- {{image: '{secret}', prompt: x}}\n"
    assert inbox.handle(inbox.put("image.yaml", text.encode())) is EventOutcome.REJECTED
    text = f"version: 1\nname: x\nitems_from: '{secret}'\n"
    assert inbox.handle(inbox.put("rows.yaml", text.encode())) is EventOutcome.REJECTED
    assert "root:" not in json.dumps(inbox.status("rows.yaml"))


@pytest.mark.parametrize("place", ["s3://payroll/", "{folder}payroll/", "{folder}inbox2/payroll/"])
def test_a_manifest_from_s3_names_no_prefix_outside_the_list(inbox: Inbox, place: str) -> None:
    place = place.format(folder=inbox.watch.removesuffix("inbox/"))
    for n, line in enumerate(
        [
            f"items: [{{image: '{place}1.jpg', prompt: x}}]",
            f"items_from: {place}rows.csv",
            f"output: {place}",
        ]
    ):
        items = "" if line.startswith("items") else "\nitems: [{prompt: x}]"
        text = f"version: 1\nname: x\n{line}{items}\n"
        assert inbox.handle(inbox.put(f"{n}.yaml", text.encode())) is EventOutcome.REJECTED
        assert "payroll" in json.dumps(inbox.status(f"{n}.yaml")["errors"])


def test_the_watched_prefix_may_be_read(inbox: Inbox) -> None:
    text = f"version: 1\nname: x\nitems: [{{image: '{inbox.watch}faces/1.jpg', prompt: x}}]\n"
    assert inbox.handle(inbox.put("a.yaml", text.encode())) is EventOutcome.STARTED


def test_rows_start_a_batch_with_the_defaults_beside_them(inbox: Inbox) -> None:
    defaults = b"version: 1\nname: rows\nparams: {seed: 7}"
    inbox.put("folder/_defaults.yaml", defaults)
    rows = b"id,image,prompt\none,https://example.com/1.jpg,smiles\ntwo,https://example.com/2.jpg,runs\n"
    assert inbox.handle(inbox.put("folder/rows.csv", rows)) is EventOutcome.STARTED
    lines = b'{"id": "one", "prompt": "smiles"}\n{"id": "two", "prompt": "runs"}\n{"id": "three", "prompt": "x"}\n'
    assert inbox.handle(inbox.put("folder/rows.jsonl", lines)) is EventOutcome.STARTED
    assert {inbox.service.ledger.batches.get(one).total for one in inbox.batches()} == {2, 3}
    assert inbox.service.ledger.batches.config(inbox.batches()[0]).params == {"seed": 7}


def test_rows_are_dropped_as_a_spreadsheet_exports_them(inbox: Inbox) -> None:
    inbox.put("_defaults.yaml", b"version: 1\nname: rows\n")
    rows = "ID;Image URL;Prompt ;;\r\none;HTTPS://example.com/1.jpg;l\u00e4chelt;;\r\n;;;;\r\n"
    assert inbox.handle(inbox.put("rows.csv", rows.encode("cp1252"))) is EventOutcome.STARTED
    assert inbox.handle(inbox.put("rows.tsv", rows.replace(";", "\t").encode("utf-16"))) is EventOutcome.STARTED
    for batch_id in inbox.batches():
        (row,) = inbox.service.ledger.items.stream(batch_id)
        assert (row.id, row.image, row.prompt) == ("one", "https://example.com/1.jpg", "l\u00e4chelt")
    assert inbox.handle(inbox.put("typo.csv", b"image,promt\nhttps://e.com/1.jpg,x\n")) is EventOutcome.REJECTED
    (error,) = inbox.status("typo.csv")["errors"]
    assert "did you mean 'prompt'?" in error["message"]


def test_defaults_can_be_json(inbox: Inbox) -> None:
    inbox.put("_defaults.yaml", b'{"version": 1, "name": "rows"}')
    assert inbox.handle(inbox.put("rows.csv", b"id,prompt\none,smiles\n")) is EventOutcome.STARTED


def test_rows_without_defaults_are_rejected_and_problems_name_their_file(inbox: Inbox) -> None:
    assert inbox.handle(inbox.put("a/rows.csv", b"id,prompt\none,smiles\n")) is EventOutcome.REJECTED
    assert "_defaults.yaml" in inbox.status("a/rows.csv")["errors"][0]["message"]
    inbox.put("b/_defaults.yaml", b"version: 1\nname: rows\ncolour: red\n")
    assert inbox.handle(inbox.put("b/rows.csv", b"id,prompt\none,smiles\none,runs\n")) is EventOutcome.REJECTED
    errors = [(error["file"].rpartition("/")[2], error["line"]) for error in inbox.status("b/rows.csv")["errors"]]
    assert ("_defaults.yaml", 3) in errors
    assert ("rows.csv", 3) in errors


def test_rows_beside_a_manifest_that_names_them_are_read(inbox: Inbox) -> None:
    inbox.put("faces.csv", b"id,prompt\none,smiles\n")
    assert inbox.handle(inbox.put("a.yaml", b"version: 1\nname: x\nitems_from: faces.csv\n")) is EventOutcome.STARTED


def test_an_empty_object_is_rejected(inbox: Inbox) -> None:
    assert inbox.handle(inbox.put("a.yaml", b"")) is EventOutcome.REJECTED
    assert "empty" in inbox.status("a.yaml")["errors"][0]["message"]
    assert inbox.handle(inbox.put("a.jpg", b""), inbox.images()) is EventOutcome.REJECTED
    assert inbox.batches() == []


def test_a_truncated_object_is_rejected_and_its_complete_version_is_accepted(inbox: Inbox) -> None:
    truncated = inbox.put("a.yaml", MANIFEST[:40])
    assert inbox.handle(truncated) is EventOutcome.REJECTED
    complete = inbox.put("a.yaml")
    # The late event of the truncated object finds the complete one.
    assert inbox.handle(truncated) is EventOutcome.STARTED
    assert inbox.handle(complete) is EventOutcome.KNOWN
    assert inbox.status("a.yaml")["status"] == "accepted"


def test_a_deleted_object_starts_nothing(inbox: Inbox) -> None:
    event = inbox.put("a.yaml")
    inbox.storage.delete(event.uri)
    assert inbox.handle(event) is EventOutcome.MISSING
    redis = inbox.dispatcher.store._redis
    (member,) = redis.zrange("dailies:trigger:inbox:missing", 0, -1)
    redis.zincrby("dailies:trigger:inbox:missing", -1000 * MISSING_WAIT_S, member)
    assert inbox.handle(event) is EventOutcome.IGNORED
    assert inbox.batches() == []


def test_an_unknown_bucket_is_an_error_so_that_the_event_is_delivered_again(inbox: Inbox) -> None:
    rule = Rule("inbox", Source.SQS, "s3://no-such-bucket/", Start.MANIFEST)
    with pytest.raises(StorageError, match="NoSuchBucket"):
        inbox.handle(ObjectEvent(Kind.CREATED, "no-such-bucket", "a.yaml", etag="x"), rule)


def test_an_event_that_no_rule_covers_is_ignored(inbox: Inbox) -> None:
    event = ObjectEvent(Kind.CREATED, "elsewhere", "a.yaml", etag="x")
    assert inbox.dispatcher.handle(event, [inbox.rule()]) == [EventOutcome.IGNORED]
    assert inbox.dispatcher.handle(ObjectEvent(Kind.TEST, "tests"), [inbox.rule()]) == [EventOutcome.IGNORED]


def test_objects_that_the_service_writes_start_nothing(inbox: Inbox, bucket: str) -> None:
    everywhere = Rule("all", Source.LISTING, bucket, Start.MANIFEST)
    assert inbox.handle(inbox.put("a.yaml"), everywhere) is EventOutcome.STARTED
    written = [info.uri for info in inbox.storage.list(bucket) if not info.uri.endswith("/a.yaml")]
    assert any(uri.endswith("/manifest.yaml") for uri in written)
    assert any(uri.endswith(".status.json") for uri in written)
    for uri in written:
        assert inbox.handle(ObjectEvent(Kind.CREATED, *split(uri)), everywhere) is EventOutcome.IGNORED
    assert len(inbox.batches()) == 1


def test_a_batch_with_its_output_below_the_watched_prefix_starts_nothing(inbox: Inbox) -> None:
    manifest = MANIFEST + f"output: {inbox.watch}results/\n".encode()
    assert inbox.handle(inbox.put("a.yaml", manifest)) is EventOutcome.REJECTED
    by_hand = images_manifest(inbox.images(output=f"{inbox.watch}results/"), ["https://example.com/1.jpg"])
    accepted = inbox.service.submission.submit(by_hand, "by-hand", trigger="cli", folder=None)
    event = ObjectEvent(Kind.CREATED, *split(f"{accepted.output}manifest.yaml"))
    assert inbox.handle(event) is EventOutcome.IGNORED


def test_without_an_output_setting_the_event_is_delivered_again(inbox: Inbox, bucket: str) -> None:
    inbox = Inbox(inbox.settings.model_copy(update={"output": None}), inbox.storage, bucket)
    event = inbox.put("a.yaml")
    with pytest.raises(InvalidSettings):
        inbox.handle(event)
    assert inbox.batches() == []


def test_after_a_loss_of_redis_nothing_is_started_again(inbox: Inbox, redis_url: str) -> None:
    manifest, image, gathered = inbox.put("a.yaml"), inbox.put("1.jpg", a_jpeg(1)), inbox.put("2.jpg", a_jpeg(2))
    inbox.handle(manifest)
    inbox.handle(image, inbox.images())
    inbox.handle(gathered, inbox.images(gather_s=0.001))
    inbox.dispatcher.submit_gathered(inbox.images(gather_s=0.001))
    assert len(inbox.batches()) == 3
    Redis.from_url(redis_url).flushall()
    assert inbox.handle(manifest) is EventOutcome.KNOWN
    assert inbox.handle(image, inbox.images()) is EventOutcome.KNOWN
    assert inbox.handle(gathered, inbox.images(gather_s=0.001)) is EventOutcome.KNOWN
    assert inbox.batches() == []


def test_an_image_is_combined_with_every_prompt_of_its_rule(inbox: Inbox, bucket: str) -> None:
    event = inbox.put("a b.jpg", JPEG)
    assert inbox.handle(event, inbox.images(output=f"{bucket}videos/")) is EventOutcome.STARTED
    (batch_id,) = inbox.batches()
    rows = list(inbox.service.ledger.items.stream(batch_id))
    assert [(row.image, row.prompt) for row in rows] == [(event.uri, "smiles"), (event.uri, "runs")]
    assert inbox.service.ledger.batches.get(batch_id).output == f"{bucket}videos/{batch_id}/"


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.jpg", HTML, "the image is an HTML page"),
        ("IMG_1.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "convert it to JPEG, for example with"),
        ("b.jpg", JPEG[:-2], "the image is truncated"),
        ("c.jpg", JPEG[:-2] + bytes(200_000), "the image is truncated"),
        ("d.png", b"text", "the image is not a JPEG, PNG"),
    ],
)
def test_a_dropped_image_that_cannot_run_is_rejected_with_the_reason_in_its_status_file(
    inbox: Inbox, name: str, data: bytes, problem: str
) -> None:
    for rule in (inbox.images(), inbox.images(gather_s=3600)):
        assert inbox.handle(inbox.put(name, data), rule) is EventOutcome.REJECTED
        assert problem in inbox.status(name)["errors"][0]["message"]
    assert inbox.batches() == []


def test_the_bytes_of_a_dropped_image_decide_not_its_name(inbox: Inbox) -> None:
    avif = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"
    large = JPEG[:-2] + bytes(200_000) + JPEG[-2:]
    for name, data in {"really-a-jpeg.png": JPEG, "face.jfif": JPEG, "new.avif": avif, "large.jpg": large}.items():
        assert inbox.handle(inbox.put(name, data), inbox.images()) is EventOutcome.STARTED


def test_images_that_arrive_together_become_one_batch(inbox: Inbox) -> None:
    waiting, over = inbox.images(gather_s=3600), inbox.images(gather_s=0.001)
    events = [inbox.put(f"{n}.jpg", a_jpeg(n)) for n in range(5)]
    assert [inbox.handle(event, waiting) for event in events] == [EventOutcome.GATHERED] * 5
    assert [inbox.handle(event, waiting) for event in events] == [EventOutcome.KNOWN] * 5
    inbox.dispatcher.submit_gathered(waiting)
    assert inbox.batches() == []
    inbox.dispatcher.submit_gathered(over)
    (batch_id,) = inbox.batches()
    assert inbox.service.ledger.batches.get(batch_id).total == 10
    assert {inbox.status(f"{n}.jpg")["batch_id"] for n in range(5)} == {batch_id}
    inbox.dispatcher.submit_gathered(over)
    assert [inbox.handle(event, over) for event in events] == [EventOutcome.KNOWN] * 5
    assert inbox.batches() == [batch_id]


def test_a_listener_crash_between_window_and_batch_loses_and_repeats_nothing(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = inbox.images(gather_s=0.001)
    for n in range(3):
        inbox.handle(inbox.put(f"{n}.jpg", a_jpeg(n)), rule)

    class Crash(Exception):
        pass

    def crash(*args: object) -> None:
        raise Crash

    crashing = inbox.another()
    for step in ("record_objects", "mark_reported", "forget_window"):
        monkeypatch.setattr(crashing.store, step, crash)
        with pytest.raises(Crash):
            crashing.submit_gathered(rule)
        # Later images belong to the next window.
        inbox.handle(inbox.put(f"late-{step}.jpg", a_jpeg(step)), rule)
        monkeypatch.undo()
        crashing = inbox.another()
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(lambda dispatcher: dispatcher.submit_gathered(rule), [inbox.another(), inbox.another()]))
    inbox.dispatcher.submit_gathered(rule)
    rows = [
        row.image for one in inbox.batches() for row in inbox.service.ledger.items.stream(one) if row.prompt == "runs"
    ]
    assert len(rows) == len(set(rows)) == 6


def test_a_gather_window_is_bounded(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.triggers.dispatch.MAX_GATHERED", 2)
    for n in range(5):
        inbox.handle(inbox.put(f"{n}.jpg", a_jpeg(n)), inbox.images(gather_s=3600))
    inbox.dispatcher.submit_gathered(inbox.images(gather_s=3600))
    assert [inbox.service.ledger.batches.get(one).total for one in inbox.batches()] == [4, 4]


def end(inbox: Inbox) -> None:
    """End the only batch: its item is cancelled."""
    (batch_id,) = inbox.batches()
    inbox.service.ledger.batches.start(batch_id, price_usd=Decimal(0), max_failures=1)
    inbox.service.control.cancel(batch_id)
    write_results(inbox.service, batch_id)


def test_an_event_of_a_forgotten_batch_leaves_nothing_in_redis(inbox: Inbox) -> None:
    event = inbox.put("a.yaml")
    inbox.handle(event)
    end(inbox)
    inbox.service.retention.forget(inbox.batches()[0])
    assert inbox.handle(event) is EventOutcome.KNOWN
    assert inbox.batches() == []
    assert keys_of(inbox.service.ledger) == set()


def test_an_event_of_another_version_leaves_nothing_of_an_archived_batch_but_its_row(inbox: Inbox) -> None:
    event = inbox.put("a.yaml")
    inbox.handle(event)
    end(inbox)
    (batch_id,) = inbox.batches()
    Retention(inbox.service.ledger, inbox.storage, keep_days=AT_ONCE).archive(batch_id)
    # The object was replaced before the event of its first version was delivered.
    assert inbox.handle(replace(event, etag="0" * 32)) is EventOutcome.KNOWN
    assert inbox.batches() == [batch_id]
    assert keys_of(inbox.service.ledger) == {f"batch:{batch_id}"}
