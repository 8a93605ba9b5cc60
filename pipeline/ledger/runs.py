"""Runs of the ledger: leases for submission and polling, and what becomes of each run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.money import to_pico
from pipeline.domain.states import ItemState
from pipeline.ledger.records import (
    EndedItem,
    Paid,
    PollLease,
    PollLeases,
    Returned,
    SubmissionLease,
    SubmissionLeases,
    due_row,
    ms,
    seconds,
)
from pipeline.ledger.scripts import ScriptRunner

_CHUNK = 500

_HELD = json.dumps(
    {
        "status": ItemState.UNKNOWN,
        "error": "The answer to the run was lost and no callback came: the vendor may have made and billed it. "
        "`dailies retry BATCH --status unknown` runs it again.",
    }
)


class RunStore:
    """Claims runs and records what became of them. Thread-safe."""

    def __init__(self, scripts: ScriptRunner) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def claim_pending(self, limit: int, *, lease_s: float, max_active: int) -> SubmissionLeases:
        """Claim pending items to submit: fair between batches, within window, budgets and back-off."""
        lease = uuid4().hex
        wait, broke, claimed = self._scripts.run("claim_runs", limit, ms(lease_s), lease, max_active)
        runs = []
        for batch, item, attempt, attempts_spent, refusals, text in claimed:
            spec = json.loads(text)
            what = (spec["image"], spec["prompt"], spec["params"])
            runs.append(
                SubmissionLease(RunId(batch, item, int(attempt)), lease, int(attempts_spent), int(refusals), *what)
            )
        return SubmissionLeases(runs, seconds(wait), broke)

    def mark_posting(self, claims: Sequence[SubmissionLease]) -> list[SubmissionLease]:
        """Before runs are posted: that they are, on disk where the server can say so. Answers those still ours."""
        if not claims:
            return []
        args = [part for claim in claims for part in (*_name(claim.run), claim.lease)]
        ours = self._scripts.run_durably("write_down", *args)
        return [claim for claim, is_ours in zip(claims, ours, strict=True) if is_ours]

    def accept(self, run: RunId, lease: str, task_id: str, token: str, look_after_s: float) -> bool:
        """The vendor took the run. False when it is no longer ours."""
        return bool(self._scripts.run("accept_run", *_name(run), lease, task_id, token, ms(look_after_s)) == 1)

    def requeue(self, run: RunId, lease: str, state: ItemState, *, delay_s: float, spent: bool) -> Returned:
        """The attempt came to nothing: the item waits `delay_s`. `spent`: it counts against `limits.attempts`."""
        args = (run.batch, run.item, state, run.attempt, lease, ms(delay_s), int(spent))
        return Returned(self._scripts.run("return_run", *args))

    def mark_unknown(self, run: RunId, lease: str, *, adopt_wait_s: float) -> bool:
        """The answer to the run was lost: unknown, until a callback brings it back."""
        return bool(self._scripts.run("lose_run", *_name(run), lease, ms(adopt_wait_s)) == 1)

    def revert_unposted(self, run: RunId) -> bool:
        """A run that was given up as lost was in fact never posted. False when the item has moved on."""
        return bool(self._scripts.run("never_posted", *_name(run)) == 1)

    def record_callback(self, run: RunId, task_id: str, token: str) -> bool:
        """A callback came. True when there is something to look at now."""
        return bool(self._scripts.run("ring", *_name(run), task_id, token)[1] == 1)

    def record_callbacks(self, calls: Iterable[tuple[RunId, str, str]]) -> bool:
        """Callbacks came, each as (run, task id, token). True when a `collect` job is to be woken for them."""
        args = [part for run, task_id, token in calls for part in (*_name(run), task_id, token)]
        on_its_way, *rung = self._scripts.run("ring", *args)
        return bool(any(rung) and not on_its_way)

    def claim_due(self, limit: int, *, lease_s: float) -> PollLeases:
        """Claim runs that are to be looked at."""
        lease = uuid4().hex
        wait, claimed = self._scripts.run("claim_due", limit, ms(lease_s), lease)
        return PollLeases([due_row(fields, lease) for fields in claimed], seconds(wait))

    def renew(self, held: Iterable[tuple[RunId, str]], *, lease_s: float) -> list[bool]:
        """Keep (run, lease) pairs for `lease_s` from now. Answers for each whether it is still ours."""
        args = (part for run, lease in held for part in (run.batch, run.item, lease))
        return [ours == 1 for ours in self._scripts.run("renew", ms(lease_s), *args)]

    def release(self, due: PollLease, *, delay_s: float, counter: str = "") -> bool:
        """Look again in `delay_s`. `counter` is 'looks' or 'copies' when this look failed."""
        run = due.run
        args = (run.batch, run.item, due.state, run.attempt, due.lease, ms(delay_s), counter)
        return bool(self._scripts.run("put_down", *args) == 1)

    def record_success(self, due: PollLease, cost_usd: Decimal) -> Paid:
        """The run succeeded: its cost is on the batch, its place is free."""
        return Paid(self._scripts.run("pay_run", *_name(due.run), due.lease, to_pico(cost_usd), str(cost_usd)))

    def end(self, run: RunId, lease: str, state: ItemState, to: ItemState, outcome: Mapping[str, Any]) -> EndedItem:
        """The item has ended with `outcome`, a row document without what the manifest says."""
        text = json.dumps({"status": to, **outcome}, ensure_ascii=False)
        answer = self._scripts.run("end_item", run.batch, run.item, state, run.attempt, lease, to, text)
        return EndedItem(answer[0] >= 0, answer[0] == 0, answer[1] == 1, answer[2])

    def expire_leases(self, *, adopt_wait_s: float, on_unknown: str) -> list[str]:
        """Give up what time has run out for. Answers the batches in which an item was held as unknown."""
        held: set[str] = set()
        while True:
            lost, kept, again, batches = self._scripts.run("expire", _CHUNK, ms(adopt_wait_s), on_unknown, _HELD)
            held.update(batches)
            if max(lost, kept + again) < _CHUNK:
                return sorted(held)


def _name(run: RunId) -> tuple[str, str, int]:
    return run.batch, run.item, run.attempt
