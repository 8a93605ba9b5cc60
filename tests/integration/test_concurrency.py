"""Hands at work: how long a job waits for what it began."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from support.ledger_fixtures import a_batch, claims

from jobs import concurrency
from jobs.leases import LeaseKeeper
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import SubmissionLease


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "TIME_BUDGET_S", 0.2)
    monkeypatch.setattr(concurrency, "DRAIN_WAIT_S", 0.1)


def once(ledger: Ledger, items: int) -> Sequence[list[SubmissionLease]]:
    a_batch(ledger, items=items)
    return [claims(ledger, items)]


@pytest.mark.usefixtures("quick")
def test_what_takes_long_goes_on_without_its_job_and_is_finished(ledger: Ledger) -> None:
    handfuls, done, go_on = list(once(ledger, 3)), [], threading.Event()

    def do(claim: SubmissionLease) -> None:
        if claim.run.item == "i0":
            assert go_on.wait(60)
        done.append(claim.run.item)

    concurrency.work(lambda limit: handfuls.pop() if handfuls else [], do, LeaseKeeper(ledger, 60))
    assert sorted(done) == ["i1", "i2"]
    # Another job goes its way meanwhile.
    assert not concurrency.work(lambda limit: [], do, LeaseKeeper(ledger, 60))
    go_on.set()
    concurrency.wait_for_all()
    assert sorted(done) == ["i0", "i1", "i2"]


@pytest.mark.usefixtures("quick")
def test_no_more_is_claimed_than_there_are_free_hands(ledger: Ledger) -> None:
    handfuls, asked, go_on = list(once(ledger, concurrency.MAX_CONCURRENT_ITEMS - 1)), [], threading.Event()

    def claim(limit: int) -> list[SubmissionLease]:
        asked.append(limit)
        return handfuls.pop() if handfuls else []

    concurrency.work(claim, lambda claim: _wait(go_on), LeaseKeeper(ledger, 60))
    concurrency.work(claim, lambda claim: None, LeaseKeeper(ledger, 60))
    assert asked[0] == concurrency.MAX_CONCURRENT_ITEMS
    assert set(asked[1:]) == {1}
    go_on.set()
    concurrency.wait_for_all()


@pytest.mark.usefixtures("quick")
def test_a_fault_of_ours_is_raised_when_everything_else_is_done(ledger: Ledger) -> None:
    handfuls, done = list(once(ledger, 3)), []

    def do(claim: SubmissionLease) -> None:
        if claim.run.item == "i0":
            raise ZeroDivisionError
        done.append(claim.run.item)

    with pytest.raises(ZeroDivisionError):
        concurrency.work(lambda limit: handfuls.pop() if handfuls else [], do, LeaseKeeper(ledger, 60))
    assert sorted(done) == ["i1", "i2"]


def _wait(go_on: threading.Event) -> None:
    assert go_on.wait(60)
