"""Ended batches leave Redis: what is left, what S3 must have before, and crashes at every step. Real Valkey and S3."""

from __future__ import annotations

import pytest
from support.archiving import archive, archiving_service, journal_of, keys_of, whole
from support.ended_batch import PROMPTS, an_ended_batch, write_results

from pipeline.batches.retention import Retention
from pipeline.batches.service import Service
from pipeline.domain.model import Review
from pipeline.domain.results import item_document
from pipeline.errors import BatchNotEnded, DamagedRecord, NoSuchBatch
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage


@pytest.fixture
def service(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str) -> Service:
    return archiving_service(redis_url, storage, s3_server, bucket)


@pytest.fixture
def folder(service: Service) -> str:
    """The folder of the ended batch `b`."""
    return an_ended_batch(service)


def members_of(ledger: Ledger, batch_id: str) -> list[str]:
    """Return the queues that name an item of a batch."""
    redis = ledger.redis
    queues = ("due", "leases", "adopt", "search", "previews", "open", "turn", "notices")
    members = {name: redis.zrange(f"dailies:{name}", 0, -1) for name in queues}
    members |= {name: redis.smembers(f"dailies:{name}") for name in ("active", "lost")}
    return [name for name, named in members.items() if any(member.split()[0] == batch_id for member in named)]


def test_an_archived_batch_leaves_one_row_in_redis_and_an_empty_journal_on_s3(service: Service, folder: str) -> None:
    ledger = service.ledger
    before, causes = ledger.batches.get("b"), ledger.queries.failure_causes("b")
    assert causes
    archive(service)
    after = ledger.batches.get("b")
    assert after.archived
    for name in ("id", "name", "model", "status", "counts", "total", "cost_usd", "created", "finished", "output",
                 "trigger", "revision", "takes", "found"):  # fmt: skip
        assert getattr(after, name) == getattr(before, name), name
    assert keys_of(ledger) == {"batch:b"}
    assert ledger.redis.memory_usage("dailies:batch:b", samples=0) < 1500
    assert members_of(ledger, "b") == []
    assert [row.id for row in ledger.queries.recent_batches()] == ["b"]
    left = {info.uri.removeprefix(folder).partition("/")[0] for info in service.storage.list(folder)}
    assert left == {"manifest.yaml", "results.jsonl", "results.json", "items", "journal"}
    assert journal_of(service, folder) == ["opened.jsonl"]
    assert service.ledger.counters.read().archived == 1
    assert service.retention.find() == []


def test_a_batch_is_kept_until_its_time_is_over(service: Service, folder: str) -> None:
    assert Retention(service.ledger, service.storage, keep_days=90).find() == []
    assert Retention(service.ledger, service.storage, keep_days=0).find() == [], "0: for ever"
    assert service.retention.find() == ["b"]


def test_the_search_looks_at_a_part_of_the_batches_at_a_time(service: Service, folder: str) -> None:
    ledger = service.ledger
    for number in range(1500):
        ledger.redis.zadd("dailies:batches", {f"gone-{number}": number})
    assert service.retention.find() == []
    assert service.retention.find() == ["b"]
    assert service.retention.find() == []


@pytest.mark.parametrize("name", ["results.jsonl", "results.json", "manifest.yaml"])
@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_batch_stays_if_s3_lacks_what_recover_needs(
    service: Service, folder: str, name: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text = service.storage.get(folder + name) or b""
    if damage == "missing":
        service.storage.delete(folder + name)
    else:
        changed = (
            text[: len(text) // 2] if damage == "cut" else text.replace(b"0.09", b"0.10").replace(b"items:", b"item:")
        )
        service.storage.put(folder + name, changed, "text/plain")
    before = keys_of(service.ledger)
    archive(service)
    assert service.ledger.batches.get("b").archived is None
    assert keys_of(service.ledger) == before
    assert list(service.storage.list(f"{folder}journal/"))
    assert service.ledger.counters.read().not_archived == 1
    service.storage.put(folder + name, text, "text/plain")
    archive(service)
    assert service.ledger.batches.get("b").archived


def test_results_of_an_older_revision_keep_the_batch(service: Service, folder: str) -> None:
    service.reviews.review("b", "retried", Review("rejected"))
    assert service.retention.find() == [], "its results are due"
    text = service.storage.get(f"{folder}results.json") or b""
    write_results(service)
    service.storage.put(f"{folder}results.json", text, "application/json")
    archive(service)
    assert service.ledger.batches.get("b").archived is None


def test_results_of_an_earlier_version_are_written_again_first(service: Service, folder: str) -> None:
    for name in ("results.json", "results.jsonl"):
        text = service.storage.get(folder + name) or b""
        service.storage.put(folder + name, text.replace(b',"charged_usd":"0.02"', b""), "text/plain")
    archive(service)
    assert service.ledger.batches.get("b").archived is None
    write_results(service)
    archive(service)
    assert service.ledger.batches.get("b").revision == 2
    assert service.ledger.batches.get("b").archived


# Recovery


def test_a_restored_batch_is_as_it_was(service: Service, folder: str) -> None:
    before = whole(service)
    archive(service)
    service.recovery.restore("b")
    after = whole(service)
    for name, value in before.items():
        assert after[name] == value, name
    assert service.recovery.recover(folder) == "b"
    assert set(members_of(service.ledger, "b")) <= {"previews"}, "they are searched for again"


def test_a_batch_whose_journal_is_gone_is_recovered_after_redis_was_lost(service: Service, folder: str) -> None:
    before = whole(service)
    archive(service)
    service.ledger.redis.flushall()
    service.recovery.recover(folder)
    after = whole(service)
    for name in ("items", "hashes", "order", "reviews", "to_review", "causes"):
        assert after[name] == before[name], name
    assert (after["row"].cost_usd, after["row"].revision) == (before["row"].cost_usd, 1)


def test_a_retry_loads_the_items_first_and_a_second_loss_of_redis_loses_nothing(service: Service, folder: str) -> None:
    archive(service)
    assert service.control.retry("b", ["failed"]) == 1
    row = service.ledger.batches.get("b")
    assert (row.status, row.revision, row.archived) == ("running", 2, None)
    (claim,) = service.ledger.runs.mark_posting(service.ledger.runs.claim_pending(9, lease_s=60, max_active=0).runs)
    assert (claim.run.item, claim.run.attempt, claim.attempts_spent) == ("charged", 2, 1)
    service.journal.write(folder, [{"do": "run", "item": "charged", "attempt": 2}])
    service.ledger.redis.flushall()
    service.recovery.recover(folder)
    assert service.ledger.items.get("b", "charged").status == "unknown", "its run may have been accepted"
    assert {row.status for row in service.ledger.items.stream("b") if row.id in ("good", "lost")} == {"succeeded"}


def test_a_review_and_a_take_load_the_items_first(service: Service, folder: str) -> None:
    archive(service)
    service.reviews.review("b", "retried", Review("rejected", "blurred"))
    assert service.ledger.items.get("b", "retried").review == Review("rejected", "blurred")
    assert service.ledger.batches.get("b").revision == 2
    write_results(service)
    archive(service)
    assert service.ledger.batches.get("b").archived
    assert service.reviews.create_take("b", "good", "She cries") == "good-take3"
    assert service.ledger.batches.get("b").status == "running"


def test_a_restored_batch_is_kept_as_if_it_had_ended_now(service: Service, folder: str) -> None:
    archive(service)
    service.recovery.restore("b")
    kept = Retention(service.ledger, service.storage, keep_days=1)
    service.ledger.redis.hset("dailies:batch:b", "finished", 1)
    assert kept.find() == []


def test_damaged_results_leave_the_batch_archived(service: Service, folder: str) -> None:
    archive(service)
    text = service.storage.get(f"{folder}results.json") or b""
    service.storage.put(f"{folder}results.json", text.replace(b'"revision":1', b'"revision":7'), "text/plain")
    with pytest.raises(DamagedRecord, match="revision is 7, and 1 in Redis"):
        service.control.retry("b", ["failed"])
    assert service.ledger.batches.get("b").archived
    service.storage.put(f"{folder}results.json", text, "text/plain")
    assert service.control.retry("b", ["failed"]) == 1


# forget


def test_forget_drops_the_row_too_and_leaves_s3_as_it_is(service: Service, folder: str) -> None:
    before = {info.uri for info in service.storage.list(folder)}
    service.retention.forget("b")
    assert keys_of(service.ledger) == set()
    assert service.ledger.queries.recent_batches() == []
    assert {info.uri for info in service.storage.list(folder)} == before
    with pytest.raises(NoSuchBatch):
        service.retention.forget("b")
    assert service.recovery.recover(folder) == "b"
    assert len(list(service.ledger.items.stream("b"))) == len(PROMPTS) + 1


def test_forget_takes_an_archived_batch_and_refuses_one_that_runs(service: Service, folder: str) -> None:
    archive(service)
    assert service.control.retry("b", ["failed"]) == 1
    with pytest.raises(BatchNotEnded, match="dailies cancel b"):
        service.retention.forget("b")
    assert item_document(service.ledger.items.get("b", "good"))["status"] == "succeeded"
    service.control.cancel("b")
    write_results(service)
    archive(service)
    service.retention.forget("b")
    assert keys_of(service.ledger) == set()
