"""An archived batch after Redis was lost: what `recover` needs, and that its id stays taken. Real Valkey and S3."""

from __future__ import annotations

import json

import pytest
from support.archiving import archiving_service, keys_of
from support.ended_batch import PROMPTS, a_manifest, an_ended_batch, write_results

from pipeline.batches.service import Service
from pipeline.domain.model import Review
from pipeline.errors import BatchOnlyOnS3, DamagedRecord, InvalidArguments, OtherContent
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage


@pytest.fixture
def service(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str) -> Service:
    return archiving_service(redis_url, storage, s3_server, bucket)


@pytest.fixture
def folder(service: Service) -> str:
    """The folder of the ended batch `b`."""
    return an_ended_batch(service)


@pytest.mark.parametrize("damage", ["missing", "other revision", "no items", "fewer items"])
def test_an_archived_batch_is_not_recovered_without_its_results(service: Service, folder: str, damage: str) -> None:
    service.reviews.review("b", "retried", Review("rejected"))
    write_results(service)
    service.retention.archive("b")
    service.ledger.redis.flushall()
    uri = f"{folder}results.json"
    text = service.storage.get(uri) or b""
    document = json.loads(text)
    document |= {
        "missing": {},
        "other revision": {"revision": 1},
        "no items": {"items": [], "total": 0},
        "fewer items": {"items": document["items"][1:]},
    }[damage]
    service.storage.put(uri, json.dumps(document).encode(), "application/json")
    if damage == "missing":
        service.storage.delete(uri)
    with pytest.raises(DamagedRecord, match="archived with revision 2"):
        service.recovery.recover(folder)
    assert service.ledger.queries.recent_batches() == [], "its runs would be bought again"
    service.storage.put(uri, text, "application/json")
    service.recovery.recover(folder)
    assert service.ledger.batches.get("b").counts == {"succeeded": 4, "failed": 1, "unknown": 1}


def test_an_archived_batch_that_runs_again_is_recovered_from_results_and_journal(service: Service, folder: str) -> None:
    service.retention.archive("b")
    take = service.reviews.create_take("b", "good", "She cries")
    assert service.control.retry("b", ["failed"]) == 1
    service.ledger.redis.flushall()
    service.recovery.recover(folder)
    assert service.ledger.batches.get("b").counts == {"succeeded": 4, "pending": 2, "unknown": 1}
    assert service.ledger.items.get("b", take).prompt == "She cries"


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_the_id_of_an_archived_batch_stays_taken(service: Service, folder: str, is_forgotten: bool) -> None:
    service.retention.archive("b")
    manifest = a_manifest(**PROMPTS)
    if is_forgotten:
        service.retention.forget("b")
        service.storage.delete(f"{folder}manifest.yaml")
        with pytest.raises(BatchOnlyOnS3, match="dailies recover"):
            service.submission.submit(manifest, "b", trigger="cli", folder=None)
    else:
        assert not service.submission.submit(manifest, "b", trigger="cli", folder=None).created
        with pytest.raises(OtherContent):
            service.submission.submit(a_manifest(good="other"), "b", trigger="cli", folder=None)


@pytest.mark.parametrize("line", [b"?", b'{"do": "run", "item": "good", "attempt": "x"}', b'{"do": "archive"}'])
def test_damaged_entries_that_an_interrupted_archiving_left_change_nothing(
    service: Service, folder: str, line: bytes
) -> None:
    service.retention.archive("b")
    service.storage.put(f"{folder}journal/20260101T000000000000-0-1.jsonl", line, "application/x-ndjson")
    service.ledger.redis.flushall()
    service.recovery.recover(folder)
    assert service.ledger.batches.get("b").counts == {"succeeded": 4, "failed": 1, "unknown": 1}


@pytest.mark.parametrize("line", [b"?", b'{"do": "archive", "revision": "x"}'])
def test_without_results_nothing_is_bought_again_if_the_entry_of_the_archiving_is_damaged(
    service: Service, folder: str, line: bytes
) -> None:
    service.retention.archive("b")
    service.storage.put(f"{folder}journal/opened.jsonl", line, "application/x-ndjson")
    service.storage.delete(f"{folder}results.json")
    service.ledger.redis.flushall()
    service.recovery.recover(folder)
    assert service.ledger.batches.get("b").counts == {"unknown": len(PROMPTS)}


def test_a_folder_whose_batch_id_is_archived_in_another_folder_is_not_recovered(
    service: Service, folder: str, bucket: str
) -> None:
    service.retention.archive("b")
    other = f"{bucket}other/b/"
    service.storage.put(f"{other}manifest.yaml", service.storage.get(f"{folder}manifest.yaml") or b"", "text/plain")
    with pytest.raises(InvalidArguments, match="is in Redis with its files at") as refused:
        service.recovery.recover(other)
    assert (folder in str(refused.value), other in str(refused.value)) == (True, True)
    assert service.ledger.batches.get("b").archived
    assert keys_of(service.ledger) == {"batch:b"}
    service.recovery.recover(folder)
    assert len(list(service.ledger.items.stream("b"))) == len(PROMPTS) + 1
