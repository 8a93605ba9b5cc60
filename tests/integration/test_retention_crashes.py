"""Archiving, restoring and forgetting: crashes at every step, and several processes at once. Real Valkey and S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from support.archiving import archive, archiving_service, journal_of, keys_of, whole
from support.ended_batch import PROMPTS, an_ended_batch, documents, write_results

from pipeline.batches.service import Service
from pipeline.domain.model import Review
from pipeline.errors import BatchArchived, NoSuchBatch
from pipeline.ledger.items import ItemStore
from pipeline.ledger.scripts import ScriptRunner
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage


@pytest.fixture
def service(redis_url: str, storage: Storage, s3_server: S3Env, bucket: str) -> Service:
    return archiving_service(redis_url, storage, s3_server, bucket)


@pytest.fixture
def folder(service: Service) -> str:
    """The folder of the ended batch `b`."""
    return an_ended_batch(service)


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

    wrap(ScriptRunner, "run")
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


def test_after_a_crash_at_any_step_of_forgetting_the_sweep_completes_it_and_the_journal_stays(
    service: Service, folder: str
) -> None:
    before, journal = whole(service), journal_of(service, folder)
    for _ in steps(lambda one: one.retention.forget("b"), service):
        archive(service)
        assert keys_of(service.ledger) == set()
        assert service.ledger.queries.recent_batches() == []
        assert journal_of(service, folder) == journal
        service.recovery.recover(folder)
        assert documents(service.ledger.items.stream("b")) == before["items"]
        service.ledger.batches.start("b", price_usd=before["row"].cost_usd, max_failures=9)
        write_results(service)


# Several processes


def test_a_process_that_continues_an_earlier_archiving_drops_nothing_of_a_restored_batch(
    service: Service, folder: str
) -> None:
    store = service.ledger.retention
    archive(service)
    old = store.state("b").archived
    service.recovery.restore("b")
    service.journal.write(folder, [{"do": "run", "item": "good", "attempt": 9}])
    assert not store.drop("b", old)
    assert not store.complete("b", old)
    assert not store.forget("b", old)
    assert len(list(service.ledger.items.stream("b"))) == len(PROMPTS) + 1


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_a_reader_gets_an_error_when_the_items_leave_meanwhile(
    service: Service, folder: str, is_forgotten: bool
) -> None:
    rows = service.ledger.items.stream("b")
    next(rows)
    if is_forgotten:
        service.retention.forget("b")
    else:
        archive(service)
    with pytest.raises(NoSuchBatch if is_forgotten else BatchArchived):
        list(rows)


def before_items(meanwhile: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another process do something just before a restoration loads the items."""
    restore = ItemStore.restore

    def slower(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(ItemStore, "restore", restore)
        meanwhile()
        restore(*args, **options)

    monkeypatch.setattr(ItemStore, "restore", slower)


def test_a_slower_restoration_changes_no_review_of_the_restored_batch(
    service: Service, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(service)
    review = Review("rejected", "She does not smile.")

    def restore_and_review() -> None:
        service.recovery.restore("b")
        service.reviews.review("b", "good", review)

    before_items(restore_and_review, monkeypatch)
    service.recovery.restore("b")
    assert service.ledger.items.get("b", "good").review == review
    assert service.ledger.queries.review_counts("b") == {"approved": 0, "rejected": 1}


def test_a_restoration_of_a_batch_that_is_forgotten_meanwhile_leaves_nothing(
    service: Service, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(service)
    before_items(lambda: service.retention.forget("b"), monkeypatch)
    with pytest.raises(NoSuchBatch):
        service.recovery.restore("b")
    assert keys_of(service.ledger) == set()


def test_a_preview_of_a_batch_that_has_left_is_not_recorded(service: Service, folder: str) -> None:
    archive(service)
    service.ledger.previews.record("b", "a" * 64, is_made=True)
    assert keys_of(service.ledger) == {"batch:b"}
    service.retention.forget("b")
    service.ledger.previews.record("b", "a" * 64, is_made=True)
    assert keys_of(service.ledger) == set()


def test_old_tasks_of_a_restored_batch_are_not_those_that_the_vendor_must_list(service: Service, folder: str) -> None:
    archive(service)
    service.ledger.redis.delete("dailies:tasks")
    service.recovery.restore("b")
    assert not service.ledger.redis.exists("dailies:tasks")
