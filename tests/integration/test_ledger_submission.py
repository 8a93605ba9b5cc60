"""Leases for submission: each item once, fairly, within limits, budgets and backoff."""

from __future__ import annotations

import threading
from decimal import Decimal

from support.ledger_fixtures import SUBMITTING, a_batch, claims, counts, dues, running, succeed

from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Counted, RequeueResult


def test_items_are_claimed_in_manifest_order_and_once(ledger: Ledger) -> None:
    a_batch(ledger, items=5)
    first, second = claims(ledger, 2), claims(ledger, 9)
    assert [claim.run.item for claim in first + second] == ["i0", "i1", "i2", "i3", "i4"]
    assert claims(ledger) == []
    assert counts(ledger) == {"submitting": 5}


def test_many_claimers_never_get_the_same_item(ledger: Ledger) -> None:
    a_batch(ledger, items=200)
    claimed: list[str] = []

    def claim_all() -> None:
        while runs := claims(ledger, 7):
            claimed.extend(claim.run.item for claim in runs)

    threads = [threading.Thread(target=claim_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 200
    assert len(set(claimed)) == 200


def test_batches_share_the_slots(ledger: Ledger) -> None:
    a_batch(ledger, "big", items=100)
    a_batch(ledger, "small", items=2)
    served = {claim.run.batch for claim in claims(ledger, 10)}
    assert served == {"big", "small"}


def test_batches_without_free_slots_do_not_starve_others(ledger: Ledger) -> None:
    for n in range(60):
        ledger.batches.pause(a_batch(ledger, f"paused-{n}", items=1))
    a_batch(ledger, "zz", items=1)
    assert [claim.run.batch for claim in claims(ledger) + claims(ledger)] == ["zz"]


def test_the_concurrency_limits_of_batch_and_account_hold(ledger: Ledger) -> None:
    a_batch(ledger, "narrow", items=10, max_active=2)
    assert len(claims(ledger)) == 2
    a_batch(ledger, "wide", items=10)
    assert len(claims(ledger, max_active=5)) == 3
    assert claims(ledger, max_active=5) == []


def test_a_run_that_ended_frees_its_slot(ledger: Ledger) -> None:
    a_batch(ledger, items=2, max_active=1)
    running(ledger)
    assert claims(ledger) == []
    (due,) = dues(ledger)
    assert ledger.runs.record_success(due, Decimal("0.09"))
    assert len(claims(ledger)) == 1


def test_the_budget_is_never_exceeded_and_a_batch_out_of_budget_is_reported(ledger: Ledger) -> None:
    a_batch(ledger, items=10, budget_usd=Decimal("0.30"), price_usd=Decimal("0.09"))
    assert len(running(ledger)) == 3
    for due in dues(ledger):
        succeed(ledger, due)
    leases = ledger.runs.claim_pending(5, lease_s=60, max_active=0)
    assert (leases.runs, leases.out_of_budget) == ([], ["b"])
    assert ledger.batches.get("b").cost_usd == Decimal("0.27")


def test_a_single_run_finds_an_unknown_price(ledger: Ledger) -> None:
    a_batch(ledger, items=10, budget_usd=Decimal("0.30"))
    assert len(running(ledger)) == 1
    (due,) = dues(ledger)
    succeed(ledger, due)
    assert len(claims(ledger)) == 2


def test_a_refused_run_spends_no_attempt_and_a_failed_one_does(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    assert (
        ledger.runs.requeue(claim.run, claim.lease, SUBMITTING, delay_s=0, counted=Counted.REFUSAL)
        is RequeueResult.WAITS
    )
    (claim,) = claims(ledger)
    assert (claim.run.attempt, claim.attempts_spent, claim.refusals) == (2, 1, 1)
    assert (
        ledger.runs.requeue(claim.run, claim.lease, SUBMITTING, delay_s=0, counted=Counted.ATTEMPT)
        is RequeueResult.WAITS
    )
    (claim,) = claims(ledger)
    assert (claim.run.attempt, claim.attempts_spent) == (3, 2)


def test_an_item_is_not_claimed_before_it_is_due(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    ledger.runs.requeue(claim.run, claim.lease, SUBMITTING, delay_s=60, counted=Counted.ATTEMPT)
    leases = ledger.runs.claim_pending(5, lease_s=60, max_active=0)
    assert leases.runs == []
    assert leases.next_in_s is not None
    assert 50 < leases.next_in_s <= 60
