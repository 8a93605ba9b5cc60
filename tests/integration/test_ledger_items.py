"""Items of the ledger: restored from S3, read, retried."""

from __future__ import annotations

from decimal import Decimal

import pytest
from support.ledger_fixtures import (
    CANCELLED,
    COLLECTING,
    FAILED,
    PENDING,
    RUNNING,
    a_batch,
    a_batch_config,
    a_row,
    claims,
    counts,
    dues,
    running,
    succeed,
)

from pipeline.domain.callback_tokens import RunId
from pipeline.errors import NoSuchBatch, NoSuchItem
from pipeline.ledger.ledger import Ledger


def test_items_are_restored_as_s3_records_them(ledger: Ledger) -> None:
    row = a_row("b", 4)
    assert ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=None, manifest_digest="")
    spec: dict[str, object] = {"image": None, "prompt": "p", "params": {}}
    base = {"spec": spec, "attempt": 1, "task": "", "token": "", "paid": "", "charged": "", "found_by": None}
    base["outcome"] = None
    items = [
        ("new", {**base, "state": "pending", "attempt": 0}),
        ("flying", {**base, "state": "running", "task": "2221", "token": "t"}),
        ("lost", {**base, "state": "unknown"}),
        ("done", {**base, "state": "succeeded", "paid": "0.09", "outcome": {"status": "succeeded"}}),
    ]
    for _ in range(2):
        ledger.items.restore("b", items, {}, adopt_wait_s=60)
    ledger.batches.accept("b")
    ledger.batches.start("b", price_usd=Decimal(0), max_failures=4)
    assert counts(ledger) == {"pending": 1, "running": 1, "unknown": 1, "succeeded": 1}
    assert ledger.batches.get("b").cost_usd == Decimal("0.09")
    assert [due.run.item for due in dues(ledger)] == ["flying"]
    assert [claim.run for claim in claims(ledger)] == [RunId("b", "new", 1)]
    assert ledger.runs.record_callback(RunId("b", "lost", 1), "2222", "")


def test_restored_takes_are_found_with_their_first_take(ledger: Ledger) -> None:
    row = a_row("b", 3)
    assert ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=None, manifest_digest="")
    fields = {"state": "pending", "attempt": 0, "task": "", "token": "", "paid": "", "charged": "", "found_by": None}
    origins = {"i0": None, "i0-take2": "i0", "i0-take3": "i0-take2", "self": "self", "stray": "missing"}
    items = [
        (name, {**fields, "outcome": None, "spec": {"image": None, "prompt": "p", "params": {}, "take_of": origin}})
        for name, origin in origins.items()
    ]
    for _ in range(2):
        ledger.items.restore("b", items, {}, adopt_wait_s=60)
    assert ledger.items.get("b", "i0").takes == ("i0-take2", "i0-take3")
    assert [ledger.items.get("b", name).first_take for name in origins] == [None, "i0", "i0", None, None]


def test_retry_runs_failed_items_again_and_only_copies_paid_ones(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger)
    first, second = dues(ledger)
    ledger.runs.end(first.run, first.lease, RUNNING, FAILED, {"error": "no"})
    ledger.runs.record_success(second, Decimal("0.09"))
    ledger.runs.end(second.run, second.lease, COLLECTING, FAILED, {"error": "copy"})
    assert ledger.items.retry("b", ["failed"]) == 2
    assert [claim.run.item for claim in claims(ledger)] == ["i0"]
    assert [(due.run.item, due.state) for due in dues(ledger)] == [("i1", COLLECTING)]
    assert {row.id: row.attempts for row in ledger.items.stream("b")} == {"i0": 2, "i1": 1}


def test_an_item_is_read_by_its_id(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    assert ledger.items.get("b", "i1").prompt == "p1"
    with pytest.raises(NoSuchItem):
        ledger.items.get("b", "nope")
    with pytest.raises(NoSuchBatch):
        ledger.items.get("nope", "i1")


def test_a_single_failed_item_is_retried(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger, 2)
    for due in dues(ledger):
        assert ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": "no"}).ours
    assert ledger.items.retry_one("b", "i1")
    assert not ledger.items.retry_one("b", "i1")
    assert counts(ledger) == {FAILED: 1, PENDING: 1}
    with pytest.raises(NoSuchItem):
        ledger.items.retry_one("b", "nope")


def test_a_retried_item_with_a_paid_run_is_only_copied(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger, 1)
    [due] = dues(ledger)
    assert ledger.runs.record_success(due, Decimal("0.09"))
    assert ledger.runs.end(due.run, due.lease, COLLECTING, FAILED, {"error": "no copy"}).ours
    assert ledger.items.retry_one("b", "i0")
    assert counts(ledger) == {COLLECTING: 1}


def test_succeeded_and_open_items_are_not_retried(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger, 1)
    [due] = dues(ledger)
    succeed(ledger, due)
    assert not ledger.items.retry_one("b", "i0")
    assert not ledger.items.retry_one("b", "i1")
    assert ledger.items.cancel_pending("b", "by hand") == 0
    assert counts(ledger)[CANCELLED] == 1
    assert ledger.items.retry_one("b", "i1")
