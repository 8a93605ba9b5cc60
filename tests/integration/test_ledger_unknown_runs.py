"""Runs whose response was lost: held, adopted by a callback, resubmitted or reverted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from support.ledger_fixtures import RUNNING, UNKNOWN, a_batch, claims, counts, dues, succeed
from support.waiting import WaitFor

from pipeline.domain.states import BatchState
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import SubmissionLease


def test_a_run_not_marked_as_posting_is_pending_again_when_its_lease_expires(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    claims(ledger, lease_s=0)
    assert ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold") == []
    assert counts(ledger) == {"pending": 1}
    (claim,) = claims(ledger)
    assert claim.attempts_spent == 1


def test_a_run_marked_as_posting_is_unknown_when_its_lease_expires(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    assert len(ledger.runs.mark_posting(claims(ledger, lease_s=0))) == 1
    assert ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold") == []
    assert counts(ledger) == {"unknown": 1}
    assert not ledger.batches.has_ended("b")


def test_parallel_sweeps_expire_each_lease_once(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=40)
    ledger.runs.mark_posting(claims(ledger, 40, lease_s=0.01))

    def all_held() -> bool:
        with ThreadPoolExecutor(8) as sweepers:
            for _ in range(16):
                sweepers.submit(ledger.runs.expire_leases, adopt_wait_s=0.01, on_unknown="hold")
        return ledger.batches.has_ended("b")

    wait_for(all_held, "every run to be held")
    assert counts(ledger) == {"unknown": 40}
    assert ledger.account.get().active == 0


def test_an_unknown_run_is_held_after_its_wait_with_advice(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    assert ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    assert ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold") == ["b"]
    (row,) = ledger.items.stream("b")
    assert (row.status, row.attempts) == ("unknown", 1)
    assert "retry" in (row.error or "")
    assert ledger.batches.has_ended("b")


def test_an_unknown_run_can_be_resubmitted_automatically(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    ledger.lost_runs.record_search([claim.run])
    assert ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="resubmit") == []
    assert [again.run.attempt for again in claims(ledger)] == [2]


def test_a_callback_lets_an_unknown_run_be_adopted(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=60)
    assert ledger.runs.record_callback(claim.run, "77", "tok")
    (due,) = dues(ledger)
    assert (due.state, due.hint_task, due.hint_token) == (UNKNOWN, "77", "tok")
    assert ledger.runs.accept(due.run, due.lease, "77", "tok", 0)
    (due,) = dues(ledger)
    assert (due.state, due.task_id, due.token) == (RUNNING, "77", "tok")


def test_a_callback_reopens_a_held_run_and_its_batch(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    assert ledger.finalization.complete("b", lease, BatchState.FAILED, datetime.now(UTC), 1)
    assert ledger.runs.record_callback(claim.run, "77", "tok")
    (due,) = dues(ledger)
    assert ledger.runs.accept(due.run, due.lease, "77", "tok", 0)
    row = ledger.batches.get("b")
    assert (row.status, row.revision, row.finished) == ("running", 2, None)
    (due,) = dues(ledger)
    succeed(ledger, due)
    assert counts(ledger) == {"succeeded": 1}


def a_lost_run(ledger: Ledger, wait_for: WaitFor) -> SubmissionLease:
    """A run that was about to be posted when its lease ran out."""
    (claim,) = ledger.runs.mark_posting(claims(ledger, lease_s=0.001))

    def is_lost() -> bool:
        ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold")
        return "unknown" in counts(ledger)

    wait_for(is_lost, "the lease to run out")
    return claim


def test_an_unknown_run_that_was_never_posted_is_pending_again(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=1)
    claim = a_lost_run(ledger, wait_for)
    assert counts(ledger) == {"unknown": 1}
    assert ledger.runs.revert_unposted(claim.run)
    assert not ledger.runs.revert_unposted(claim.run)
    assert counts(ledger) == {"pending": 1}
    assert ledger.account.get().active == 0
    assert claims(ledger)[0].attempts_spent == 1


def test_a_run_with_a_callback_counts_as_posted(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=1)
    claim = a_lost_run(ledger, wait_for)
    ledger.runs.record_callback(claim.run, "2221", "")
    assert not ledger.runs.revert_unposted(claim.run)


def test_a_late_result_leaves_a_cancelled_batch_cancelling(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0.001)
    ledger.batches.set_status("b", BatchState.CANCELLING, among=[BatchState.RUNNING], reason="Cancelled by hand.")
    wait_for(
        lambda: ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold"), "the wait for a callback to be over"
    )
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    ledger.finalization.complete("b", lease, BatchState.CANCELLED, datetime.now(UTC), 1)
    assert ledger.runs.record_callback(claim.run, "2221", "token")
    (due,) = dues(ledger)
    ledger.runs.accept(due.run, due.lease, "2221", "token", 0)
    row = ledger.batches.get("b")
    assert (row.status, row.reason) == ("cancelling", "Cancelled by hand.")


def test_an_unknown_run_with_a_known_task_is_not_held_while_the_vendor_is_unavailable(
    ledger: Ledger, wait_for: WaitFor
) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0.001)
    assert ledger.runs.record_callback(claim.run, "2221", "token")
    (due,) = dues(ledger)
    assert ledger.runs.release(due, delay_s=0.001)
    assert ledger.runs.expire_leases(adopt_wait_s=0.001, on_unknown="hold") == []
    (due,) = wait_for(lambda: dues(ledger), "the run to be due again")
    assert ledger.runs.accept(due.run, due.lease, "2221", "token", 0)


def test_a_task_of_another_run_is_ignored(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=60)
    assert ledger.runs.record_callback(claim.run, "666", "forged")
    (due,) = dues(ledger)
    assert ledger.runs.release(due, delay_s=0)
    assert dues(ledger) == []
    assert ledger.runs.record_callback(claim.run, "2221", "token"), "the right task is recorded"
