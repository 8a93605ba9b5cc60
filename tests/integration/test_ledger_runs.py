"""Runs of the ledger: leases, callbacks and outcomes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from support.ledger_fixtures import FAILED, RUNNING, SUCCEEDED, a_batch, claims, counts, dues, running, succeed

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.states import BatchState
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Counted, RequeueResult


def test_a_callback_before_the_response_counts_once_the_run_is_accepted(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    assert not ledger.runs.record_callback(claim.run, "1", "t")
    assert ledger.runs.accept(claim.run, claim.lease, "1", "t", 600)
    assert len(dues(ledger)) == 1


def test_a_callback_during_a_poll_makes_the_run_due_again(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (due,) = dues(ledger)
    assert not ledger.runs.record_callback(due.run, "", "")
    assert ledger.runs.release(due, delay_s=600)
    assert len(dues(ledger)) == 1


@pytest.mark.parametrize("attempt", [0, 2, 99])
def test_a_callback_of_another_attempt_does_nothing(ledger: Ledger, attempt: int) -> None:
    a_batch(ledger, items=1)
    (claim,) = running(ledger, poll_after_s=600)
    assert not ledger.runs.record_callback(replace(claim.run, attempt=attempt), "1", "t")
    assert not ledger.runs.record_callback(RunId("b", "no-item", 1), "1", "t")
    assert dues(ledger) == []


def test_callbacks_after_the_end_do_nothing(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = running(ledger)
    (due,) = dues(ledger)
    succeed(ledger, due)
    for _ in range(5):
        assert not ledger.runs.record_callback(claim.run, "1", "t")
    assert counts(ledger) == {"succeeded": 1}


def test_a_worker_that_lost_its_lease_writes_nothing(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (stale,) = dues(ledger, lease_s=0)
    (fresh,) = dues(ledger)
    assert not ledger.runs.record_success(stale, Decimal("0.09"))
    assert not ledger.runs.release(stale, delay_s=0)
    assert not ledger.runs.end(stale.run, stale.lease, RUNNING, FAILED, {}).ours
    assert (
        ledger.runs.requeue(stale.run, stale.lease, RUNNING, delay_s=0, counted=Counted.ATTEMPT)
        is RequeueResult.NOT_OURS
    )
    succeed(ledger, fresh)
    assert ledger.batches.get("b").cost_usd == Decimal("0.09")


def test_a_renewed_lease_holds(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (due,) = dues(ledger, lease_s=0)
    ledger.runs.renew([(due.run, due.lease)], lease_s=60)
    assert dues(ledger) == []


def test_an_illegal_transition_is_refused(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (due,) = dues(ledger)
    with pytest.raises(Exception, match="illegal transition running -> succeeded"):
        ledger.runs.end(due.run, due.lease, RUNNING, SUCCEEDED, {})
    assert counts(ledger) == {"running": 1}


def test_a_run_accepted_in_a_cancelled_batch_is_due_at_once(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    ledger.batches.set_status("b", BatchState.CANCELLING, among=[BatchState.RUNNING], reason="Cancelled by hand.")
    ledger.runs.accept(claim.run, claim.lease, "2221", "token", 3600)
    assert len(dues(ledger)) == 1


def test_runs_are_marked_as_posting_without_an_append_only_file(ledger: Ledger) -> None:
    a_batch(ledger)
    ledger.redis.config_set("appendonly", "no")
    try:
        claimed = claims(ledger)
        assert ledger.runs.mark_posting(claimed) == claimed
    finally:
        ledger.redis.config_set("appendonly", "yes")
