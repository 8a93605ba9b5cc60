"""Batches of the ledger: created once, loaded, cancelled, with exact costs."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from redis import Redis
from support.ledger_fixtures import (
    FAILED,
    RUNNING,
    SUBMITTING,
    a_batch,
    claims,
    counts,
    dues,
    running,
    succeed,
)

from pipeline.domain.states import BatchState
from pipeline.errors import NoSuchBatch
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import BatchBudget, Counted, RequeueResult


def test_a_batch_id_is_opened_once(ledger: Ledger) -> None:
    a_batch(ledger)
    row = ledger.batches.get("b")
    again = ledger.batches.open(row, ledger.batches.config("b"), max_active=0, budget_usd=None, manifest_digest="other")
    assert not again
    assert ledger.batches.manifest_digest("b") == "digest"


def test_loading_twice_changes_nothing(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    ledger.items.load("b", [("i1", {"image": None, "prompt": "other", "params": {}}, None)])
    assert [(row.id, row.prompt) for row in ledger.items.stream("b")] == [("i0", "p0"), ("i1", "p1"), ("i2", "p2")]
    assert ledger.batches.get("b").total == 3


def test_an_unknown_batch_is_named_in_the_error(ledger: Ledger) -> None:
    with pytest.raises(NoSuchBatch, match="'nope'"):
        ledger.batches.get("nope")


def test_costs_are_exact(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    running(ledger)
    for due in dues(ledger):
        succeed(ledger, due, "0.003510000000")
    assert ledger.batches.get("b").cost_usd == Decimal("0.01053")


def test_too_many_failures_are_reported(ledger: Ledger) -> None:
    a_batch(ledger, items=3, max_failures=1)
    running(ledger)
    ends = [ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": "no"}) for due in dues(ledger)]
    assert [ended.too_many_failures for ended in ends] == [False, True, True]
    assert [ended.last for ended in ends] == [False, False, True]


def test_a_cancelled_batch_ends_pending_and_requeued_items(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    (claim,) = claims(ledger, 1)
    ledger.batches.set_status("b", BatchState.CANCELLING, among=[BatchState.RUNNING], reason="Cancelled by hand.")
    assert ledger.items.cancel_pending("b", "Cancelled by hand.") == 1
    result = ledger.runs.requeue(claim.run, claim.lease, SUBMITTING, delay_s=0, counted=Counted.ATTEMPT)
    assert result is RequeueResult.MUST_END
    assert ledger.items.cancel_pending("b", "Cancelled by hand.") == 0
    assert counts(ledger) == {"cancelled": 3}


def test_an_ended_batch_leaves_no_queue_entries(ledger: Ledger, redis_url: str) -> None:
    a_batch(ledger, items=3)
    running(ledger)
    for due in dues(ledger):
        succeed(ledger, due)
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    ledger.finalization.complete("b", lease, BatchState.SUCCEEDED, datetime.now(UTC), 1)
    redis = Redis.from_url(redis_url, decode_responses=True)
    left = [key for key in ("due", "leases", "adopt", "turn", "open", "active") if redis.exists(f"dailies:{key}")]
    assert left == []
    fields = redis.hmget("dailies:batch:b", "active", "reserved", "open")
    assert fields == ["0", "0", "0"]


def test_a_batch_has_a_budget_and_a_price(ledger: Ledger) -> None:
    a_batch(ledger, budget_usd=Decimal("1.50"), price_usd=Decimal("0.09"))
    assert ledger.batches.budget("b") == BatchBudget(Decimal("1.50"), Decimal("0.09"))
    a_batch(ledger, "c")
    assert ledger.batches.budget("c") == BatchBudget(None, None)


def test_the_slices_of_a_timeline_double_when_a_batch_outgrows_them(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger, 1)
    ledger.redis.hset("dailies:batch:b", "created", int(ledger.redis.hget("dailies:batch:b", "created")) - 3_600_000)
    running(ledger, 1)
    assert ledger.redis.hgetall("dailies:batch:b:life") == {"step": "64000", "started:0": "1", "started:56": "1"}
    assert sum(slice_["started"] for slice_ in ledger.timeline.read("b", 3600).slices if "started" in slice_) == 2
