"""The account at the vendor: concurrency limit, backoff, pauses, probes and spend."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from support.ledger_fixtures import a_batch, a_probe, claims, dues, running, succeed
from support.waiting import WaitFor

from pipeline.ledger.ledger import Ledger


def test_the_concurrency_limit_follows_the_vendor_and_grows_with_success(ledger: Ledger) -> None:
    a_batch(ledger, items=40)
    ledger.account.limit_concurrency(2)
    for expected in (2, 2, 3):
        runs = running(ledger)
        assert len(runs) == expected
        for due in dues(ledger):
            succeed(ledger, due)


def test_a_paused_account_and_a_backoff_submit_nothing(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    ledger.account.pause("no funds")
    assert claims(ledger) == []
    ledger.account.resume()
    ledger.account.back_off(first_s=60, longest_s=60, reason="rate limit")
    assert claims(ledger) == []
    ledger.account.resume()
    assert len(claims(ledger)) == 3


def test_after_a_backoff_a_single_run_probes(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    ledger.account.back_off(first_s=0, longest_s=0, reason="rate limit")
    (claim,) = claims(ledger)
    ledger.runs.accept(claim.run, claim.lease, "2221", "token", 60)
    assert len(claims(ledger)) == 2


def test_a_pause_with_probes_submits_nothing_before_the_first_probe(ledger: Ledger) -> None:
    a_batch(ledger, items=5)
    ledger.account.pause("Insufficient balance.", probe_after_s=60)
    assert claims(ledger) == []
    account = ledger.account.get()
    assert account.paused_reason == "Insufficient balance."
    assert account.probe_at


def test_a_probe_that_succeeds_ends_the_pause(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=5)
    probe = a_probe(ledger, wait_for)
    assert claims(ledger) == []
    ledger.runs.accept(probe.run, probe.lease, "2221", "token", 60)
    assert ledger.account.get().paused_reason is None
    assert len(claims(ledger)) == 4


def test_a_probe_that_fails_is_followed_by_another(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=5)
    first = a_probe(ledger, wait_for)
    second = a_probe(ledger, wait_for)
    assert second.run.item != first.run.item
    assert ledger.account.get().paused_reason == "Insufficient balance."


def test_only_a_person_ends_a_manual_pause(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    (claim,) = claims(ledger, 1)
    ledger.account.pause("Paused by hand.")
    ledger.runs.accept(claim.run, claim.lease, "2221", "token", 60)
    assert claims(ledger) == []
    ledger.account.resume()
    assert len(claims(ledger)) == 1


def test_the_spend_of_each_day_is_known(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger)
    for due in dues(ledger):
        ledger.runs.record_success(due, Decimal("0.09"))
    days = ledger.account.spend(7)
    assert sum(cost for _, cost in days) == Decimal("0.18")
    assert days[-1][0] - days[0][0] == timedelta(days=6)
