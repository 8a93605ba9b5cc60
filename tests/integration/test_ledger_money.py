"""Money on the ledger: prices of items, charges of all runs, charges that are far off, and amounts beyond counting."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from support.ledger_fixtures import (
    FAILED,
    PENDING,
    RUNNING,
    UNKNOWN,
    a_batch,
    a_batch_config,
    a_row,
    claims,
    counts,
    dues,
    running,
    succeed,
)

from pipeline.domain.money import MAX_USD
from pipeline.domain.states import BatchState
from pipeline.errors import AmountTooLarge
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Charge, Counted, PollLease, SubmissionLease

SPEC: dict[str, Any] = {"image": None, "prompt": "p", "params": {}}


def a_priced_batch(ledger: Ledger, *prices: str | None, budget_usd: str | None = None, price_usd: str = "0") -> None:
    """A running batch `b` with an item for each price."""
    row = a_row("b", len(prices))
    budget = None if budget_usd is None else Decimal(budget_usd)
    ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=budget, manifest_digest="")
    ledger.batches.accept("b")
    ledger.items.load(
        "b", ((f"i{n}", SPEC, None if price is None else Decimal(price)) for n, price in enumerate(prices))
    )
    ledger.batches.start("b", price_usd=Decimal(price_usd), max_failures=1000)


def reserved(ledger: Ledger) -> str:
    return str(ledger.redis.hget("dailies:batch:b", "reserved"))


def fail(ledger: Ledger, due: PollLease, cost: str, *, retry: bool = False) -> None:
    charge = Charge.of(due, Decimal(cost))
    if retry:
        ledger.runs.requeue(due.run, due.lease, RUNNING, delay_s=0, counted=Counted.ATTEMPT, charge=charge)
    else:
        assert ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": "no"}, charge=charge).ours


def spent_today(ledger: Ledger) -> Decimal:
    return ledger.account.spend(1)[0][1]


def test_each_run_is_reserved_at_the_price_of_its_item(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.05", "0.10", None, price_usd="0.30")
    running(ledger)
    assert reserved(ledger) == "450000000000"
    assert [due.price_usd for due in dues(ledger)] == [Decimal("0.05"), Decimal("0.10"), Decimal("0.30")]


def test_the_budget_pays_for_items_at_their_own_prices(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.05", "0.05", "0.20", "0.05", budget_usd="0.15")
    assert [claim.run.item for claim in running(ledger)] == ["i0", "i1"]
    for due in dues(ledger):
        succeed(ledger, due, "0.05")
    leases = ledger.runs.claim_pending(9, lease_s=60, max_active=0)
    assert (leases.runs, leases.out_of_budget) == ([], ["b"])


def test_items_with_a_known_price_do_not_wait_for_a_single_run_that_finds_it(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.05", "0.05", "0.05", None, "0.05", budget_usd="1.00")
    assert len(claims(ledger)) == 3, "the item without a price waits until nothing else runs"


def test_a_price_that_the_vendor_exceeds_reserves_more_for_the_next_runs(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.05", "0.05", "0.05", "0.05", budget_usd="0.20")
    running(ledger, 1)
    succeed(ledger, dues(ledger)[0], "0.09")
    assert len(claims(ledger)) == 1, "0.11 USD are left, which pay for one run at 0.09"


def test_a_take_has_the_price_of_its_original(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.05")
    ledger.items.add("b", "i0-take2", {**SPEC, "take_of": "i0"})
    running(ledger)
    assert reserved(ledger) == "100000000000"


def hold_a_lost_run(ledger: Ledger) -> SubmissionLease:
    (claim,) = ledger.runs.mark_posting(claims(ledger, 1))
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    assert ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold") == ["b"]
    return claim


def test_a_held_run_keeps_its_reservation_so_that_its_adoption_stays_within_the_budget(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.10", "0.10", budget_usd="0.15")
    held = hold_a_lost_run(ledger)
    assert ledger.account.get().active == 0, "it holds no slot"
    leases = ledger.runs.claim_pending(9, lease_s=60, max_active=0)
    assert (leases.runs, leases.out_of_budget) == ([], ["b"]), "0.05 USD are left for a run at 0.10"
    ledger.runs.record_callback(held.run, "7", "t")
    (due,) = dues(ledger)
    assert ledger.runs.accept(due.run, due.lease, "7", "t", 0)
    assert reserved(ledger) == "100000000000"
    succeed(ledger, dues(ledger)[0], "0.10")
    assert reserved(ledger) == "0"


def test_a_person_who_retries_a_held_run_frees_its_reservation(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.10", budget_usd="0.15")
    hold_a_lost_run(ledger)
    assert ledger.items.retry("b", [UNKNOWN]) == 1
    assert reserved(ledger) == "0"
    assert len(claims(ledger)) == 1


def test_a_recovered_batch_reserves_for_its_runs_that_may_be_billed(ledger: Ledger) -> None:
    a_priced_batch(ledger, budget_usd="1.00")
    item = {"spec": SPEC, "attempt": 1, "task": "7", "token": "", "paid": "", "charged": "", "found_by": ""}
    take = {**item, "state": "running", "spec": {**SPEC, "take_of": "i0"}, "outcome": None}
    items = [
        ("i0", {**item, "state": "unknown", "outcome": {"status": "unknown"}}),
        ("i1", {**item, "state": "unknown", "outcome": None}),
        ("i2", take),
        ("i3", {**item, "state": "failed", "outcome": {"status": "failed"}}),
    ]
    ledger.items.restore("b", items, dict.fromkeys(["i0", "i1", "i3"], Decimal("0.10")), adopt_wait_s=60)
    assert reserved(ledger) == "300000000000"
    assert ledger.account.get().active == 2, "a held run has no slot"


def test_the_charges_of_all_runs_of_an_item_are_its_cost(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    fail(ledger, dues(ledger)[0], "0.02", retry=True)
    running(ledger)
    succeed(ledger, dues(ledger)[0], "0.09")
    assert ledger.items.get("b", "i0").cost_usd == Decimal("0.11")
    assert ledger.batches.get("b").cost_usd == Decimal("0.11")
    assert spent_today(ledger) == Decimal("0.11")


def test_a_failed_run_that_was_charged_is_run_again_by_retry(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    fail(ledger, dues(ledger)[0], "0.02")
    assert ledger.items.get("b", "i0").cost_usd == Decimal("0.02")
    assert ledger.items.retry("b", [FAILED]) == 1
    assert counts(ledger) == {PENDING: 1}


def test_charges_are_restored(ledger: Ledger) -> None:
    row = a_row("b", 1)
    ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=None, manifest_digest="")
    item = {"spec": SPEC, "state": "failed", "attempt": 2, "task": "7", "token": "t", "paid": "", "charged": "0.05"}
    outcome = {"status": "failed", "error": "no"}
    ledger.items.restore("b", [("i0", {**item, "found_by": "task list", "outcome": outcome})], {}, adopt_wait_s=60)
    assert ledger.items.get("b", "i0").cost_usd == Decimal("0.05")
    assert ledger.items.get("b", "i0").found_by == "task list"
    assert ledger.batches.get("b").cost_usd == Decimal("0.05")


def test_a_charge_far_above_the_price_is_flagged_and_pauses_a_batch_with_a_budget(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.09", "0.09", budget_usd="100")
    running(ledger, 1)
    succeed(ledger, dues(ledger)[0], "0.28")
    row = ledger.batches.get("b")
    assert row.status == BatchState.PAUSED
    assert row.reason == row.overcharge
    assert "0.28 USD" in (row.reason or "")
    assert "item i0" in (row.reason or "")
    assert ledger.counters.read().overcharged == 1
    assert claims(ledger) == []
    ledger.batches.resume("b")
    assert len(claims(ledger)) == 1
    assert ledger.batches.get("b").overcharge


def test_without_a_budget_a_charge_far_above_the_price_is_only_flagged(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.09", "0.09")
    running(ledger, 1)
    fail(ledger, dues(ledger)[0], "0.28")
    row = ledger.batches.get("b")
    assert (row.status, row.reason) == (BatchState.RUNNING, None)
    assert "0.28 USD" in (row.overcharge or "")


def test_a_charge_of_up_to_three_times_the_price_is_not_flagged(ledger: Ledger) -> None:
    a_priced_batch(ledger, "0.09", "0.09", budget_usd="100")
    running(ledger, 1)
    succeed(ledger, dues(ledger)[0], "0.27")
    assert ledger.batches.get("b").overcharge is None


def test_a_budget_beyond_counting_is_refused_before_anything_is_written(ledger: Ledger) -> None:
    row = a_row("b", 1)
    with pytest.raises(AmountTooLarge):
        ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=MAX_USD + 1, manifest_digest="")
    assert ledger.redis.keys("dailies:batch*") == []


def test_huge_charges_are_capped_and_flagged_and_their_sum_stays_countable(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    running(ledger)
    first, second, third = dues(ledger)
    succeed(ledger, first, "405000000000")
    fail(ledger, second, "40500000")
    succeed(ledger, third, "0.09")
    row = ledger.batches.get("b")
    assert row.cost_usd == MAX_USD
    assert spent_today(ledger) == MAX_USD
    assert "counted as 9000000 USD" in (row.overcharge or "")
    assert counts(ledger) == {"succeeded": 2, FAILED: 1}


def test_runs_with_huge_prices_are_leased_and_end(ledger: Ledger) -> None:
    a_priced_batch(ledger, "8000000", "8000000", "1E+15")
    assert len(running(ledger)) == 3
    for due in dues(ledger):
        succeed(ledger, due, "0.09")
    assert reserved(ledger) == "0"


def test_a_budget_near_the_largest_amount_is_exact_enough(ledger: Ledger) -> None:
    a_priced_batch(ledger, *["3000000"] * 4, budget_usd="9000000")
    assert len(running(ledger)) == 3
    for due in dues(ledger):
        succeed(ledger, due, "3000000")
    assert ledger.runs.claim_pending(9, lease_s=60, max_active=0).out_of_budget == ["b"]
