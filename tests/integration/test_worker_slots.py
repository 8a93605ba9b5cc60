"""Concurrent work on items: how long a job waits for the items that it started."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from support.ledger_fixtures import a_batch, claims

from jobs import worker_slots
from jobs.leases import LeaseKeeper
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import SubmissionLease


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_slots, "TIME_BUDGET_S", 0.2)
    monkeypatch.setattr(worker_slots, "DRAIN_WAIT_S", 0.1)


def once(ledger: Ledger, items: int) -> Sequence[list[SubmissionLease]]:
    a_batch(ledger, items=items)
    return [claims(ledger, items)]


@pytest.mark.usefixtures("quick")
def test_an_item_that_takes_long_is_finished_after_its_job_has_returned(ledger: Ledger) -> None:
    claimable, done, proceed = list(once(ledger, 3)), [], threading.Event()

    def do(claim: SubmissionLease) -> None:
        if claim.run.item == "i0":
            assert proceed.wait(60)
        done.append(claim.run.item)

    worker_slots.work(lambda limit: claimable.pop() if claimable else [], do, LeaseKeeper(ledger, 60))
    assert sorted(done) == ["i1", "i2"]
    # Meanwhile another job runs.
    assert not worker_slots.work(lambda limit: [], do, LeaseKeeper(ledger, 60))
    proceed.set()
    worker_slots.wait_for_all()
    assert sorted(done) == ["i0", "i1", "i2"]


@pytest.mark.usefixtures("quick")
def test_a_claim_is_never_larger_than_the_number_of_free_slots(ledger: Ledger) -> None:
    claimable, limits, proceed = list(once(ledger, worker_slots.MAX_CONCURRENT_ITEMS - 1)), [], threading.Event()

    def claim(limit: int) -> list[SubmissionLease]:
        limits.append(limit)
        return claimable.pop() if claimable else []

    worker_slots.work(claim, lambda claim: _wait(proceed), LeaseKeeper(ledger, 60))
    worker_slots.work(claim, lambda claim: None, LeaseKeeper(ledger, 60))
    assert limits[0] == worker_slots.MAX_CONCURRENT_ITEMS
    assert set(limits[1:]) == {1}
    proceed.set()
    worker_slots.wait_for_all()


@pytest.mark.usefixtures("quick")
def test_an_error_of_one_item_is_raised_after_the_other_items_are_done(ledger: Ledger) -> None:
    claimable, done = list(once(ledger, 3)), []

    def do(claim: SubmissionLease) -> None:
        if claim.run.item == "i0":
            raise ZeroDivisionError
        done.append(claim.run.item)

    with pytest.raises(ZeroDivisionError):
        worker_slots.work(lambda limit: claimable.pop() if claimable else [], do, LeaseKeeper(ledger, 60))
    assert sorted(done) == ["i1", "i2"]


def _wait(proceed: threading.Event) -> None:
    assert proceed.wait(60)
