"""The end of a batch: one worker writes the results, and later changes make the next revision."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.ledger_fixtures import a_batch, claims, dues, running, succeed

from pipeline.domain.model import Review
from pipeline.domain.states import BatchState
from pipeline.errors import NoSuchItem
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import FinalizationResult


def test_one_worker_writes_the_results(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    assert ledger.finalization.claim("b", lease_s=60) is None
    running(ledger)
    (due,) = dues(ledger)
    succeed(ledger, due)
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    assert ledger.finalization.claim("b", lease_s=60) is None
    assert ledger.finalization.renew("b", lease, lease_s=60)
    assert (
        ledger.finalization.complete("b", "another", BatchState.SUCCEEDED, datetime.now(UTC), 1)
        == FinalizationResult.NOT_OURS
    )
    assert ledger.finalization.complete("b", lease, BatchState.SUCCEEDED, datetime.now(UTC), 1)
    assert ledger.finalization.claim("b", lease_s=60) is None
    assert ledger.batches.open_ids() == []


def ended(ledger: Ledger, items: int = 1) -> None:
    """A batch whose items have succeeded and whose results are written."""
    a_batch(ledger, items=items)
    running(ledger)
    for due in dues(ledger):
        succeed(ledger, due)
    written(ledger)


def written(ledger: Ledger) -> FinalizationResult:
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    return ledger.finalization.complete(
        "b", lease, BatchState.SUCCEEDED, datetime.now(UTC), ledger.batches.get("b").revision
    )


def test_a_review_of_an_ended_batch_makes_the_next_revision(ledger: Ledger) -> None:
    ended(ledger)
    assert ledger.finalization.claim("b", lease_s=60) is None
    assert ledger.items.review("b", "i0", Review("approved", "lovely"))
    assert ledger.items.review("b", "i0", Review("rejected", "too dark"))
    row = ledger.batches.get("b")
    assert (row.status, row.revision) == ("succeeded", 2)
    assert [item.review for item in ledger.items.stream("b")] == [Review("rejected", "too dark")]
    assert written(ledger) == FinalizationResult.DONE
    assert ledger.finalization.claim("b", lease_s=60) is None


def test_a_review_while_results_are_written_is_not_lost(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    succeed(ledger, dues(ledger)[0])
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    assert ledger.items.review("b", "i0", Review("approved"))
    assert (
        ledger.finalization.complete("b", lease, BatchState.SUCCEEDED, datetime.now(UTC), 1)
        == FinalizationResult.DUE_AGAIN
    )
    assert written(ledger) == FinalizationResult.DONE
    assert ledger.batches.get("b").revision == 2


def test_a_review_of_a_running_batch_waits_for_its_end(ledger: Ledger) -> None:
    a_batch(ledger)
    assert not ledger.items.review("b", "i0", Review("approved"))
    with pytest.raises(NoSuchItem):
        ledger.items.review("b", "nope", Review("approved"))


def test_another_take_reopens_an_ended_batch(ledger: Ledger) -> None:
    ended(ledger)
    spec: dict[str, object] = {"image": None, "prompt": "slower", "params": {}, "take_of": "i0"}
    assert ledger.items.add("b", "i0-take2", spec)
    assert not ledger.items.add("b", "i0-take2", spec)
    row = ledger.batches.get("b")
    assert (row.status, row.revision, row.total) == ("running", 2, 2)
    assert [claim.run.item for claim in claims(ledger)] == ["i0-take2"]
    assert [item.take_of for item in ledger.items.stream("b")] == [None, "i0"]
