"""Runs of the ledger: leases for submission and polling, and the outcome of each run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.money import plain_usd, to_pico
from pipeline.domain.states import ItemState
from pipeline.ledger import keys
from pipeline.ledger.decoding import DAMAGED_ITEM, poll_lease, run_id, submission_lease
from pipeline.ledger.outcomes import outcome_text
from pipeline.ledger.records import (
    AcceptResult,
    CallbackResult,
    CallbackResults,
    Charge,
    Counted,
    EndedItem,
    Failure,
    FoundBy,
    PollLease,
    PollLeases,
    RequeueResult,
    SubmissionLease,
    SubmissionLeases,
    SuccessResult,
)
from pipeline.ledger.scripts import ScriptRunner
from pipeline.ledger.set_aside import NOT_DECODED, decode_runs
from pipeline.ledger.times import ms, seconds

_CHUNK = 500
_NO_CHARGE = Charge()

_HELD_OUTCOME = json.dumps(
    {
        "status": ItemState.UNKNOWN,
        "error": "The response to the run was lost, no callback came, and its task was not found in the vendor's list: "
        "the vendor may have made and billed it. `dailies retry BATCH --status unknown` runs it again.",
    }
)


class RunStore:
    """Leases runs and records their outcomes. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts

    def claim_pending(
        self,
        limit: int,
        *,
        lease_s: float,
        max_active: int,
        max_unproven: int = 0,
        max_batch_usd: Decimal | None = None,
        max_day_usd: Decimal | None = None,
    ) -> SubmissionLeases:
        """Lease up to `limit` pending items for submission. `max_active` runs of the account; 0: no limit.

        Batches get a fair share, within concurrency limits, budgets and backoff. `max_unproven`: how many runs may be
        posted at a time while the account has not accepted one in the last ten minutes; 0: no limit. `max_batch_usd`:
        the budget of batches without one, or with a larger one. `max_day_usd`: what the charges of the UTC day and the
        prices of active runs may sum up to. None: no limit.
        """
        lease = uuid4().hex
        ceilings = (to_pico(usd or Decimal(0)) for usd in (max_batch_usd, max_day_usd))
        args = (limit, ms(lease_s), lease, max_active, max_unproven, *ceilings)
        wait, out_of_budget, rows = self._scripts.run("claim_pending", *args)
        runs = []
        for row in rows:
            try:
                runs.append(submission_lease(row, lease))
            except NOT_DECODED:
                # Nothing was posted. The sweep finishes the batch if no other item is open.
                self.end(run_id(row), lease, ItemState.SUBMITTING, ItemState.FAILED, {"error": DAMAGED_ITEM})
        return SubmissionLeases(runs, seconds(wait), out_of_budget)

    def mark_posting(self, claims: Sequence[SubmissionLease]) -> list[SubmissionLease]:
        """Record, on the server's disk, that runs are about to be posted. Returns those whose lease is still held."""
        if not claims:
            return []
        args = [part for claim in claims for part in (*_key(claim.run), claim.lease, claim.reuse_key)]
        held = self._scripts.run_durably("mark_posting", *args)
        return [claim for claim, is_held in zip(claims, held, strict=True) if is_held]

    def accept(self, run: RunId, lease: str, task_id: str, token: str, poll_after_s: float) -> AcceptResult:
        """Record that the vendor accepted the run."""
        return AcceptResult(self._scripts.run("accept_run", *_key(run), lease, task_id, token, ms(poll_after_s)))

    def requeue(
        self,
        run: RunId,
        lease: str,
        state: ItemState,
        *,
        delay_s: float,
        counted: Counted,
        charge: Charge = _NO_CHARGE,
    ) -> RequeueResult:
        """Make the item pending again, due in `delay_s`. `counted`: what the run counts as."""
        args = (run.batch, run.item, state, run.attempt, lease, ms(delay_s), counted, *_charge_args(charge))
        return RequeueResult(self._scripts.run("requeue_run", *args))

    def mark_unknown(self, run: RunId, lease: str, *, adopt_wait_s: float) -> bool:
        """Record that the response to the run was lost. Returns False if the lease was lost.

        If its task is found within `adopt_wait_s`, the run is adopted.
        """
        return bool(self._scripts.run("mark_unknown", *_key(run), lease, ms(adopt_wait_s)) == 1)

    def revert_unposted(self, run: RunId) -> bool:
        """Make an unknown run pending again that was never posted. Returns False if the item has changed meanwhile."""
        return bool(self._scripts.run("revert_unposted", *_key(run)) == 1)

    def record_callback(
        self, run: RunId, task_id: str, token: str, *, found_by: FoundBy | None = FoundBy.CALLBACK
    ) -> CallbackResult:
        """Record a callback, or another hint at the task of a run. `found_by`: what named it; None: a late response."""
        args = (*_key(run), task_id, token, found_by or "")
        _, result = self._scripts.run("record_callbacks", *args)
        return CallbackResult(result)

    def record_callbacks(self, callbacks: Iterable[tuple[RunId, str, str]]) -> CallbackResults:
        """Record callbacks: (run, task id, token) of each. Returns which jobs must be enqueued."""
        args = [part for run, *task in callbacks for part in (*_key(run), *task, FoundBy.CALLBACK)]
        is_enqueued, *results = self._scripts.run("record_callbacks", *args)
        return CallbackResults(
            collect=CallbackResult.RUN_DUE in results and not is_enqueued, search=CallbackResult.SEARCH_DUE in results
        )

    def claim_due(self, limit: int, *, lease_s: float) -> PollLeases:
        """Lease up to `limit` runs that are due."""
        lease = uuid4().hex
        wait, rows = self._scripts.run("claim_due", limit, ms(lease_s), lease)
        runs = decode_runs(self._scripts, keys.DUE, rows, lambda row: poll_lease(row, lease))
        return PollLeases(runs, seconds(wait))

    def renew(self, leases: Iterable[tuple[RunId, str]], *, lease_s: float) -> list[bool]:
        """Renew (run, lease) pairs for `lease_s` from now. Returns for each whether it is still held."""
        args = (part for run, lease in leases for part in (run.batch, run.item, lease))
        return [held == 1 for held in self._scripts.run("renew_leases", ms(lease_s), *args)]

    def release(self, due: PollLease, *, delay_s: float, failure: Failure | None = None) -> bool:
        """Release a run, due again in `delay_s`. `failure`: what failed. Returns False if the lease was lost."""
        run = due.run
        args = (run.batch, run.item, due.state, run.attempt, due.lease, ms(delay_s), failure or "")
        return bool(self._scripts.run("release_lease", *args) == 1)

    def record_success(self, due: PollLease, cost_usd: Decimal) -> SuccessResult:
        """Record that the run succeeded: its cost is on the batch, its slot is free."""
        charge = Charge.of(due, cost_usd)
        args = (*_key(due.run), due.lease, to_pico(charge.usd), plain_usd(charge.usd), charge.warning)
        return SuccessResult(self._scripts.run("record_success", *args))

    def end(
        self,
        run: RunId,
        lease: str,
        state: ItemState,
        to: ItemState,
        outcome: Mapping[str, Any],
        *,
        charge: Charge = _NO_CHARGE,
    ) -> EndedItem:
        """End an item. `outcome`: the row of the results without what the manifest contains.

        `charge`: what the vendor charged for a run that did not succeed.
        """
        text = outcome_text({"status": to, **outcome})
        args = (run.batch, run.item, state, run.attempt, lease, to, text, *_charge_args(charge))
        open_items, too_many_failures, paid = self._scripts.run("end_item", *args)
        return EndedItem(
            ours=open_items >= 0, last=open_items == 0, too_many_failures=too_many_failures == 1, paid=paid
        )

    def expire_leases(self, *, adopt_wait_s: float, on_unknown: str) -> list[str]:
        """Expire leases of submissions and waits for callbacks. Returns the batches with items that are now held.

        `on_unknown`: 'hold' or 'resubmit' the runs whose callback did not come.
        """
        batches: set[str] = set()
        while True:
            expired, held, resubmitted, held_batches = self._scripts.run(
                "expire_leases", _CHUNK, ms(adopt_wait_s), on_unknown, _HELD_OUTCOME
            )
            batches.update(held_batches)
            if max(expired, held + resubmitted) < _CHUNK:
                return sorted(batches)


def _charge_args(charge: Charge) -> tuple[int, str]:
    return to_pico(charge.usd), charge.warning


def _key(run: RunId) -> tuple[str, str, int]:
    return run.batch, run.item, run.attempt
