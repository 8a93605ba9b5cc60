"""An ended batch with items of all kinds on real servers, as workers leave it: manifest, journal, outputs, results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipeline.batches.service import Service
from pipeline.domain import results
from pipeline.domain.model import Item, ItemRow, Limits, Manifest, Review
from pipeline.domain.states import BatchState, ItemState, batch_outcome
from pipeline.ledger.records import Charge, Counted, FoundBy, PollLease
from pipeline.storage.s3 import join

VIDEO = b"a video"
PROMPTS = {"good": "She smiles", "retried": "He waves", "charged": "They run", "lost": "It rains", "held": "Snow falls"}


def a_manifest(**prompts: str) -> Manifest:
    """Return a manifest with one item for each prompt."""
    items = tuple(Item(item_id, None, prompt) for item_id, prompt in prompts.items())
    return Manifest("la-street", "m/n", None, None, {}, Limits(), None, items)


def an_ended_batch(service: Service, batch_id: str = "b") -> str:
    """Create a batch whose items ended in every way, with a review and a take. Return its folder."""
    ledger, decisions = service.ledger, service.reviews
    output = service.submission.submit(a_manifest(**PROMPTS), batch_id, trigger="cli", folder=Path()).output
    ledger.batches.start(batch_id, price_usd=Decimal(0), max_failures=100)
    dues = {due.run.item: due for due in _running(service)}
    retried, lost = dues["retried"], Charge(Decimal("0.02"))
    assert ledger.runs.requeue(
        retried.run, retried.lease, ItemState.RUNNING, delay_s=0, counted=Counted.REFUSAL, charge=lost
    )
    _fail(service, dues["charged"], "Face not found.", Charge(Decimal("0.03")))
    dues |= {due.run.item: due for due in _running(service)}
    for item_id in ("good", "retried", "lost"):
        _succeed(service, output, dues[item_id])
    decisions.review(batch_id, "good", Review("approved", "the best"))
    take = decisions.create_take(batch_id, "good", "She laughs")
    (due,) = _running(service)
    assert due.run.item == take
    _succeed(service, output, due)
    service.journal.flush()
    write_results(service, batch_id)
    return output


def write_results(service: Service, batch_id: str = "b") -> None:
    """Write the results of a batch whose items have ended, and mark it as ended."""
    ledger, storage = service.ledger, service.storage
    lease = ledger.finalization.claim(batch_id, lease_s=60)
    assert lease
    row = ledger.batches.get(batch_id)
    finished = row.finished or datetime.now(UTC).replace(microsecond=0)
    row = replace(row, status=batch_outcome(row.counts, row.reason), finished=finished)
    items = list(ledger.items.stream(batch_id))
    storage.put(join(row.output, results.LINES), b"".join(results.as_jsonl(items)), "application/x-ndjson")
    storage.put(join(row.output, results.RESULTS), b"".join(results.as_json(row, items)), "application/json")
    assert ledger.finalization.complete(batch_id, lease, BatchState(row.status), finished, row.revision)


def documents(rows: Iterator[ItemRow]) -> list[dict[str, Any]]:
    """Return the JSON of items."""
    return [results.item_document(row) for row in rows]


def _running(service: Service) -> list[PollLease]:
    """Post pending items: `held` gets no response, `lost` is found by its callback. Return the runs that are due."""
    runs = service.ledger.runs
    for claim in runs.mark_posting(runs.claim_pending(100, lease_s=60, max_active=0).runs):
        _note(service, claim.run, "run")
        if claim.run.item in ("held", "lost"):
            assert runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
        else:
            assert runs.accept(claim.run, claim.lease, f"task-{claim.run.item}", "token", 0)
            _note(service, claim.run, "task", task=f"task-{claim.run.item}", token="token")
        if claim.run.item == "lost":
            runs.record_callback(claim.run, "task-lost", "token", found_by=FoundBy.CALLBACK)
    due = {due.run.item: due for due in runs.claim_due(100, lease_s=60).runs}
    if "lost" in due:
        assert runs.accept(due["lost"].run, due["lost"].lease, "task-lost", "token", 0)
        due |= {one.run.item: one for one in runs.claim_due(100, lease_s=60).runs}
    runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    return list(due.values())


def _succeed(service: Service, output: str, due: PollLease) -> None:
    uri = f"{output}items/{due.run.item}/0.mp4"
    service.storage.put(uri, VIDEO, "video/mp4")
    sha256 = hashlib.sha256(VIDEO).hexdigest()
    document = {"uri": uri, "content_type": "video/mp4", "size": len(VIDEO), "sha256": sha256}
    outcome = {"status": "succeeded", "error": None, "elapsed_s": 1.5, "outputs": [document]}
    assert service.ledger.runs.record_success(due, Decimal("0.09"))
    assert service.ledger.runs.end(due.run, due.lease, ItemState.COLLECTING, ItemState.SUCCEEDED, outcome).ours
    _note(service, due.run, "end", cost_usd="0.09", outcome=outcome)


def _fail(service: Service, due: PollLease, error: str, charge: Charge) -> None:
    outcome: dict[str, Any] = {"status": "failed", "error": error, "elapsed_s": None, "outputs": []}
    runs = service.ledger.runs
    assert runs.end(due.run, due.lease, ItemState.RUNNING, ItemState.FAILED, outcome, charge=charge).ours
    _note(service, due.run, "end", cost_usd="0", outcome=outcome)


def _note(service: Service, run: Any, do: str, **fields: Any) -> None:
    folder = service.ledger.batches.get(run.batch).output
    service.journal.write(folder, [{"do": do, "item": run.item, "attempt": run.attempt, **fields}])
