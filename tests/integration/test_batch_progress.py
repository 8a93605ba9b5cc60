"""How far a batch is, on a real ledger: time left, pauses, causes of failures, prices, orders of lists, counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from support.ledger_fixtures import (
    COLLECTING,
    FAILED,
    MODEL,
    RUNNING,
    SUCCEEDED,
    a_batch,
    claims,
    dues,
    fail,
    running,
    succeed,
)

from pipeline.batches.progress import Progress, read_progress
from pipeline.domain.failure_groups import cause_of
from pipeline.domain.states import BatchState
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.queries import BatchOrder

KEY = "dailies:batch:b"


def progress(ledger: Ledger, *, after_s: float = 0) -> Progress:
    """Return the progress of batch b, read later."""
    now = datetime.now(UTC) + timedelta(seconds=after_s)
    return read_progress(ledger, ledger.batches.get("b"), ledger.account.get(), now)


def end_ago(ledger: Ledger, seconds: float, status: BatchState = BatchState.SUCCEEDED) -> None:
    """Complete batch b as if it had begun two minutes before its end, which was so long ago."""
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    ended = datetime.now(UTC) - timedelta(seconds=seconds)
    created_ms = round((ended - timedelta(minutes=2)).timestamp() * 1000)
    ledger.redis.hset(KEY, "created", created_ms)
    ledger.finalization.complete("b", lease, status, ended, ledger.batches.get("b").revision)


def test_before_the_first_end_the_vendors_words_give_the_time_left(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger, poll_after_s=60)
    assert progress(ledger).remaining_s is None
    ledger.model_cache.put(MODEL.upper(), {"computingtime": "2 minutes"})
    first, later = progress(ledger).remaining_s, progress(ledger, after_s=30).remaining_s
    assert first is not None
    assert later is not None
    assert 110 < first <= 120
    assert 75 < later < first


def test_our_own_history_of_the_model_precedes_the_vendors_words(ledger: Ledger) -> None:
    ledger.model_cache.put(MODEL, {"computingtime": "2 minutes"})
    a_batch(ledger, "before", items=1)
    running(ledger)
    ledger.redis.hincrby("dailies:item:before:i0", "posted", -600_000)
    succeed(ledger, dues(ledger)[0])
    assert 599 < (ledger.run_times.usual_s(MODEL.upper()) or 0) < 620
    a_batch(ledger, items=1)
    running(ledger, poll_after_s=60)
    assert 500 < (progress(ledger).remaining_s or 0) < 620


def test_a_batch_whose_items_may_not_be_submitted_has_no_time_left(ledger: Ledger) -> None:
    ledger.model_cache.put(MODEL, {"computingtime": "60"})
    a_batch(ledger, items=3)
    ledger.account.limit_concurrency(5)
    assert progress(ledger).remaining_s == 60
    ledger.batches.pause("b")
    assert progress(ledger).remaining_s is None
    ledger.batches.resume("b")
    ledger.account.pause("no money")
    assert progress(ledger).remaining_s is None


def test_a_batch_that_waits_for_the_slots_of_others_has_no_time_left(ledger: Ledger) -> None:
    ledger.model_cache.put(MODEL, {"computingtime": "60"})
    a_batch(ledger, "other", items=2)
    running(ledger)
    a_batch(ledger, items=3)
    ledger.account.limit_concurrency(2)
    assert progress(ledger).remaining_s is None


def test_the_pause_before_another_take_counts_neither_for_speed_nor_for_duration(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    succeed(ledger, dues(ledger)[0])
    end_ago(ledger, 3600)
    assert progress(ledger).working_s == pytest.approx(120, abs=0.01)
    ledger.items.add("b", "i0-take2", {"image": None, "prompt": "p", "params": {}, "take_of": "i0"})
    row = ledger.batches.get("b")
    assert 3595 < row.idle_s < 3700
    assert 119 < progress(ledger).working_s < 180
    running(ledger)
    succeed(ledger, dues(ledger)[0])
    # One item ended since the batch was opened again: it counts within seconds, not within the hour before.
    speed = progress(ledger).per_minute
    assert speed is not None
    assert speed > 0.5


def test_failures_are_counted_by_their_cause_until_they_are_retried(ledger: Ledger) -> None:
    a_batch(ledger, items=4)
    running(ledger)
    fail(ledger, "https://a/1.jpg: not found", "https://a/2.jpg: not found", "face not found", "face not found")
    missing = cause_of("https://a/1.jpg: not found")
    assert ledger.queries.failure_causes("b") == {missing: 2, "face not found": 2}
    assert ledger.items.retry_failed("b", ["i0", "i1"]) == ["i0", "i1"]
    assert ledger.items.retry_failed("b", ["i0", "i1", "nope"]) == []
    assert ledger.items.retry_one("b", "i2")
    assert ledger.queries.failure_causes("b") == {"face not found": 1}
    ledger.items.retry("b", [FAILED])
    assert ledger.queries.failure_causes("b") == {}


def test_only_the_failures_of_a_batch_have_a_cause(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    (first, *_) = claims(ledger, 1)
    ledger.runs.mark_unknown(first.run, first.lease, adopt_wait_s=0)
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    ledger.items.cancel_pending("b", "by hand")
    assert ledger.queries.failure_causes("b") == {}


def test_a_batch_counts_a_limited_number_of_causes(ledger: Ledger) -> None:
    a_batch(ledger, items=103)
    running(ledger, 103)
    letters = "abcdefghijklmnopqrstuvwxyz"
    for number, due in enumerate(dues(ledger, 103)):
        error = f"cause {letters[number % 26]}{letters[number // 26]}"
        ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": error})
    assert len(ledger.queries.failure_causes("b")) == 100
    assert ledger.items.retry("b", [FAILED]) == 103
    assert ledger.queries.failure_causes("b") == {}


def test_restored_failures_are_counted_too(ledger: Ledger) -> None:
    a_batch(ledger, items=0)
    outcome: dict[str, Any] = {"status": "failed", "error": "face not found", "elapsed_s": None, "outputs": []}
    item: dict[str, Any] = {
        "spec": {"image": None, "prompt": "p", "params": {}},
        "state": "failed",
        "attempt": 1,
        "task": "",
        "token": "",
        "paid": "",
        "charged": "0",
        "found_by": None,
        "outcome": outcome,
    }
    ledger.items.restore("b", [("i0", item)], {}, adopt_wait_s=60)
    assert ledger.queries.failure_causes("b") == {"face not found": 1}


def test_the_price_of_a_run_is_the_highest_of_its_items(ledger: Ledger) -> None:
    a_batch(ledger, items=0)
    prices = ("0.09", "0.30", None)
    spec: dict[str, Any] = {"image": None, "prompt": "p", "params": {}}
    ledger.items.load("b", [(f"i{n}", spec, Decimal(usd) if usd else None) for n, usd in enumerate(prices)])
    assert ledger.batches.budget("b").price_usd == Decimal("0.30")
    expected = {"i0": Decimal("0.09"), "i1": Decimal("0.30"), "i2": None}
    assert ledger.items.prices("b", ["i0", "i1", "i2"]) == expected, "the price of the batch is not known yet"
    a_batch(ledger, "without", price_usd=Decimal("0.12"))
    assert ledger.batches.budget("without").price_usd == Decimal("0.12")


def test_batches_are_sorted_by_age_cost_and_status(ledger: Ledger) -> None:
    for number, (status, cost) in enumerate([("succeeded", "3"), ("failed", "20"), ("running", "1"), ("paused", "")]):
        a_batch(ledger, f"b{number}", items=1)
        ledger.redis.hset(f"dailies:batch:b{number}", mapping={"status": status, **({"cost": cost} if cost else {})})
        ledger.redis.zadd("dailies:batches", {f"b{number}": number})

    def ids(order: BatchOrder, first: int = 0, limit: int = 9) -> list[str]:
        rows, total = ledger.queries.sorted_batches(first, limit, order)
        assert total == 4
        return [row.id for row in rows]

    assert ids(BatchOrder.NEWEST) == ["b3", "b2", "b1", "b0"]
    assert ids(BatchOrder.COST) == ["b1", "b0", "b2", "b3"]
    assert ids(BatchOrder.STATUS) == ["b3", "b1", "b2", "b0"]
    assert ids(BatchOrder.COST, 1, 2) == ["b0", "b2"]
    assert ids(BatchOrder.NEWEST, 3, 2) == ["b0"]
    assert ids(BatchOrder.STATUS, 9, 2) == []


def test_a_search_counts_all_items_that_match(ledger: Ledger) -> None:
    a_batch(ledger, items=4100)
    count = ledger.queries.count_items("b", text="p1")
    assert (count.found, count.next) == (1111, 4000)
    rest = ledger.queries.count_items("b", text="p1", first=4000)
    assert (rest.found, rest.next) == (0, None)
    assert ledger.queries.count_items("b", states=[COLLECTING, SUCCEEDED]).found == 0
