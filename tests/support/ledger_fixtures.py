"""Batches, items and runs on a real ledger, as the tests of several packages need them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from pipeline.domain.model import BatchRow
from pipeline.domain.states import BatchState, ItemState
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import BatchConfig, PollLease, SubmissionLease
from support.waiting import WaitFor

MODEL = "minimax/image-to-video-hailuo-01-subject"
PENDING, SUBMITTING, RUNNING, COLLECTING, SUCCEEDED, FAILED, CANCELLED, UNKNOWN = ItemState


def a_row(batch_id: str, items: int) -> BatchRow:
    return BatchRow(
        id=batch_id,
        name=batch_id,
        model=MODEL,
        status=BatchState.QUEUED,
        counts={},
        total=items,
        cost_usd=Decimal(0),
        created=datetime.now(UTC),
        finished=None,
        output=f"s3://bucket/{batch_id}/",
        trigger="cli",
    )


def a_batch_config(row: BatchRow) -> BatchConfig:
    return BatchConfig(MODEL, "inputImageFirst", {}, 3, row.output, None)


def a_batch(
    ledger: Ledger,
    batch_id: str = "b",
    items: int = 3,
    *,
    max_active: int = 0,
    budget_usd: Decimal | None = None,
    price_usd: Decimal = Decimal(0),
    max_failures: int = 1000,
) -> str:
    row = a_row(batch_id, items)
    assert ledger.batches.open(
        row, a_batch_config(row), max_active=max_active, budget_usd=budget_usd, manifest_digest="digest"
    )
    ledger.batches.accept(batch_id)
    ledger.items.load(
        batch_id, ((f"i{n}", {"image": None, "prompt": f"p{n}", "params": {}}, None) for n in range(items))
    )
    ledger.batches.start(batch_id, price_usd=price_usd, max_failures=max_failures)
    return batch_id


def claims(ledger: Ledger, limit: int = 32, *, lease_s: float = 60, max_active: int = 0) -> list[SubmissionLease]:
    return ledger.runs.claim_pending(limit, lease_s=lease_s, max_active=max_active).runs


def a_probe(ledger: Ledger, wait_for: WaitFor) -> SubmissionLease:
    """Pause the account. Return the one run that tries it."""
    ledger.account.pause("Insufficient balance.", probe_after_s=0.001)
    (probe,) = wait_for(lambda: claims(ledger), "a probe")
    return probe


def running(ledger: Ledger, limit: int = 32, *, poll_after_s: float = 0) -> list[SubmissionLease]:
    claimed = ledger.runs.mark_posting(claims(ledger, limit))
    for claim in claimed:
        assert ledger.runs.accept(claim.run, claim.lease, f"task-{claim.run.item}", "token", poll_after_s)
    return claimed


def dues(ledger: Ledger, limit: int = 32, *, lease_s: float = 60) -> list[PollLease]:
    return ledger.runs.claim_due(limit, lease_s=lease_s).runs


def counts(ledger: Ledger, batch_id: str = "b") -> dict[str, int]:
    return dict(ledger.batches.get(batch_id).counts)


def fail(ledger: Ledger, *errors: str) -> None:
    """End running items as failed, one with each error."""
    for due, error in zip(dues(ledger, len(errors)), errors, strict=True):
        assert ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": error}).ours


def succeed(ledger: Ledger, due: PollLease, cost: str = "0.09") -> None:
    assert ledger.runs.record_success(due, Decimal(cost))
    assert ledger.runs.end(due.run, due.lease, COLLECTING, SUCCEEDED, {}).ours
