"""Ended batches leave Redis: what is left, what S3 must have before, and crashes at every step. Real Valkey and S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from support.ended_batch import PROMPTS, an_ended_batch, documents, write_results

from pipeline.batches.retention import Retention
from pipeline.batches.service import Service
from pipeline.domain.model import Review
from pipeline.domain.results import item_document
from pipeline.errors import BatchArchived, BatchNotEnded, NoSuchBatch
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.retention import RetentionStore
from pipeline.local.servers import S3Env
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage

AT_ONCE = 1e-9
"""`keep_days` of a batch that leaves Redis when it has ended."""


@pytest.fixture
def service(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str) -> Service:
    """A service that archives every ended batch."""
    settings = Settings(
        redis_url=redis_url,
        s3_endpoint=s3_server.endpoint,
        output=bucket,
        wiro_api_url="http://127.0.0.1:1",
        keep_days=AT_ONCE,
    )
    return Service.connect(settings, storage=storage)


@pytest.fixture
def folder(service: Service) -> str:
    """The folder of the ended batch `b`."""
    return an_ended_batch(service)


def archive(service: Service) -> None:
    for batch_id in service.retention.find():
        service.retention.archive(batch_id)


def keys_of(ledger: Ledger) -> set[str]:
    """Return the keys of batches and items, without the prefix."""
    found = {key.removeprefix("dailies:") for key in ledger.redis.scan_iter("dailies:*")}
    return {key for key in found if key.startswith(("batch:", "item:"))}


def journal_of(service: Service, folder: str) -> list[str]:
    """Return the names of the objects of a batch's journal."""
    return [info.uri.rpartition("/")[2] for info in service.storage.list(f"{folder}journal/")]


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
    assert ledger.redis.memory_usage("dailies:batch:b") < 1500
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


def whole(service: Service) -> dict[str, Any]:
    """Return all that the ledger has of the batch `b`, without its timeline and when it was archived."""
    ledger = service.ledger
    hashes = {}
    for key in sorted(ledger.redis.scan_iter("dailies:item:b:*")):
        known = ledger.redis.hmget(key, "state", "attempt", "task", "paid", "charged", "found_by", "takes", "first")
        hashes[key] = [value or None for value in known]
    row = ledger.batches.get("b")
    return {
        "row": row,
        "items": documents(ledger.items.stream("b")),
        "hashes": hashes,
        "order": ledger.redis.lrange("dailies:batch:b:order", 0, -1),
        "reviews": ledger.redis.hgetall("dailies:batch:b:reviews"),
        "counts": ledger.queries.review_counts("b"),
        "to_review": ledger.queries.to_review_count("b"),
        "causes": ledger.queries.failure_causes("b"),
        "reserved": ledger.redis.hget("dailies:batch:b", "reserved"),
    }


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
    with pytest.raises(Exception, match="revision 7, not 1"):
        service.control.retry("b", ["failed"])
    assert service.ledger.batches.get("b").archived
    service.storage.put(f"{folder}results.json", text, "text/plain")
    assert service.control.retry("b", ["failed"]) == 1


# Crashes


class Killed(BaseException):
    """The process ends here."""


def after_call(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Kill the process after the call `number` of a step. Return a function: whether so many were made."""
    made = 0

    def wrap(owner: type, name: str) -> None:
        step = getattr(owner, name)

        def run(*args: Any, **options: Any) -> Any:
            nonlocal made
            result = step(*args, **options)
            made += 1
            if made == number:
                raise Killed
            return result

        monkeypatch.setattr(owner, name, run)

    for name in ("begin", "drop", "complete", "begin_restore", "complete_restore"):
        wrap(RetentionStore, name)
    wrap(Storage, "delete")
    wrap(Storage, "put")
    monkeypatch.setattr("pipeline.ledger.retention._CHUNK", 2)
    return lambda: made >= number


def steps(of: Callable[[Service], object], service: Service) -> Iterator[None]:
    """Kill the process after each step of `of` in turn; yield after each crash."""
    for number in range(1, 100):
        with pytest.MonkeyPatch.context() as monkeypatch:
            is_reached = after_call(number, monkeypatch)
            with suppress(Killed):
                of(service)
        yield
        if not is_reached():
            return
    raise AssertionError("It does not end.")


def test_after_a_crash_at_any_step_of_archiving_it_goes_on(service: Service, folder: str) -> None:
    before = whole(service)
    crashes = 0
    for _ in steps(archive, service):
        crashes += 1
        assert documents(service.items.stream(service.ledger.batches.get("b"))) == before["items"]
        archive(service)
        assert keys_of(service.ledger) == {"batch:b"}
        assert journal_of(service, folder) == ["opened.jsonl"]
        assert service.retention.find() == []
        service.recovery.restore("b")
        assert documents(service.ledger.items.stream("b")) == before["items"]
        assert service.ledger.batches.get("b") == before["row"]
        service.journal.write(folder, [{"do": "run", "item": "good", "attempt": 1}])
    assert crashes > 6


def test_after_a_crash_at_any_step_of_archiving_a_lost_redis_loses_nothing(service: Service, folder: str) -> None:
    before = whole(service)
    for _ in steps(archive, service):
        service.ledger.redis.flushall()
        service.recovery.recover(folder)
        assert documents(service.ledger.items.stream("b")) == before["items"]
        service.ledger.batches.start("b", price_usd=before["row"].cost_usd, max_failures=9)
        write_results(service)


def test_after_a_crash_at_any_step_of_a_restoration_the_next_one_completes_it(service: Service, folder: str) -> None:
    before = whole(service)
    archive(service)
    for _ in steps(lambda one: one.recovery.restore("b"), service):
        service.recovery.restore("b")
        assert whole(service)["row"] == before["row"]
        assert documents(service.ledger.items.stream("b")) == before["items"]
        archive(service)
        assert keys_of(service.ledger) == {"batch:b"}


def test_an_abandoned_restoration_is_undone(service: Service, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = service.ledger.batches.get("b")
    archive(service)
    with pytest.MonkeyPatch.context() as patch:
        after_call(2, patch)
        with pytest.raises(Killed):
            service.recovery.restore("b")
    assert service.retention.find() == [], "it may go on"
    service.ledger.redis.hset("dailies:batch:b", "restoring", 1)
    archive(service)
    after = service.ledger.batches.get("b")
    assert (after.counts, after.cost_usd, after.total) == (before.counts, before.cost_usd, before.total)
    assert keys_of(service.ledger) == {"batch:b"}


def test_a_worker_that_was_overtaken_drops_nothing_of_a_restored_batch(service: Service, folder: str) -> None:
    store = service.ledger.retention
    archive(service)
    old = store.state("b").archived
    service.recovery.restore("b")
    service.journal.write(folder, [{"do": "run", "item": "good", "attempt": 9}])
    with pytest.raises(NoSuchBatch):
        store.drop("b", old)
    assert not store.complete("b", old)
    assert not store.forget("b", old)
    assert len(list(service.ledger.items.stream("b"))) == len(PROMPTS) + 1


def test_a_reader_that_is_overtaken_says_so(service: Service, folder: str) -> None:
    rows = service.ledger.items.stream("b")
    next(rows)
    archive(service)
    with pytest.raises(BatchArchived, match="dailies recover"):
        list(rows)


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
