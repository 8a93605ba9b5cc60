"""Decodes stored hashes and results of scripts into records. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.money import from_pico
from pipeline.domain.results import row_from_document
from pipeline.domain.states import BATCH_TERMINAL, ItemState
from pipeline.errors import DamagedRecord
from pipeline.ledger.records import FoundBy, LostRun, PollLease, Source, SubmissionLease
from pipeline.ledger.set_aside import NOT_DECODED
from pipeline.ledger.times import moment

DAMAGED_ITEM = "The record of this item in Redis is damaged. What S3 has of it is in the folder of the batch."
LIVE_FIELDS = ("state", "tries", "before", "task", "paid", "charged", "found_by", "takes", "first", "attempt", "key")
"""Fields of an item's hash that `item_row` needs, in this order."""


def batch_row(batch_id: str, fields: Mapping[str, str]) -> BatchRow:
    """Return a batch from its hash. Raises DamagedRecord."""
    try:
        return _batch_row(batch_id, fields)
    except NOT_DECODED as error:
        raise DamagedRecord(
            f"The record of batch {batch_id!r} in Redis is damaged ({type(error).__name__}: {error}). Rebuild it: "
            "`dailies recover` with its folder on S3."
        ) from None


def _batch_row(batch_id: str, fields: Mapping[str, str]) -> BatchRow:
    counts = {state.value: int(fields.get(f"n:{state}", 0)) for state in ItemState}
    created = moment(fields["created"])
    if created is None:
        raise ValueError("it has no creation time")
    return BatchRow(
        id=batch_id,
        name=fields["name"],
        model=json.loads(fields["plan"])["model"],
        status=fields["status"],
        counts={state: count for state, count in counts.items() if count},
        total=int(fields["total"] if "loaded" in fields else fields["expected"]),
        cost_usd=from_pico(fields.get("cost", "0")),
        created=created,
        finished=moment(fields.get("finished", 0)) if fields["status"] in BATCH_TERMINAL else None,
        output=fields["output"],
        trigger=fields["trigger"],
        revision=int(fields["revision"]),
        reason=fields.get("reason"),
        overcharge=fields.get("overcharge"),
        idle_s=int(fields.get("idle", 0)) / 1000,
        reopened=moment(fields.get("reopened", 0)),
        takes=int(fields.get("takes", 0)),
        is_accepted="accepted" in fields,
        found={by.value: int(fields[f"found:{by}"]) for by in FoundBy if f"found:{by}" in fields},
        archived=moment(fields.get("archived", 0)),
        reused=int(fields.get("reused", 0)),
    )


def item_row(item_id: str, spec: str, outcome: str | None, review: str | None, fields: Sequence[str | None]) -> ItemRow:
    """Return an item from its spec, outcome and review (JSON texts) and the values of LIVE_FIELDS.

    A damaged record becomes an item without a prompt, with an error that describes it.
    """
    try:
        return _item_row(item_id, spec, outcome, review, fields)
    except NOT_DECODED:
        state = fields[0] if isinstance(fields, Sequence) else None
        return ItemRow(item_id, state or ItemState.UNKNOWN, None, None, error=DAMAGED_ITEM)


def _item_row(
    item_id: str, spec: str, outcome: str | None, review: str | None, fields: Sequence[str | None]
) -> ItemRow:
    state, attempts_spent, attempts_before, task, paid, charged, found_by, takes, first, attempt, key = fields
    document = {
        "id": item_id,
        "status": state or ItemState.PENDING,
        "attempts": int(attempts_spent or 0) + int(attempts_before or 0),
        "task_id": task or None,
        "cost_usd": Decimal(paid or 0) + from_pico(charged or 0),
        "found_by": found_by,
        "charged_usd": from_pico(charged or 0),
        "run": int(attempt) if attempt else None,
        "reuse_key": key if state == ItemState.SUCCEEDED else None,
        **json.loads(spec),
        **(json.loads(outcome) if outcome else {}),
        "review": json.loads(review) if review else None,
    }
    return replace(row_from_document(document), takes=tuple((takes or "").split()), first_take=first)


def run_id(row: Sequence[Any]) -> RunId:
    """Return the run that a row of a script begins with: batch, item, attempt."""
    return RunId(row[0], row[1], int(row[2]))


def submission_lease(row: Sequence[Any], lease: str) -> SubmissionLease:
    """Return a lease from a row of `claim_pending.lua`."""
    batch, item, attempt, attempts_spent, refusals, spec_text = row
    spec = json.loads(spec_text)
    return SubmissionLease(
        run=RunId(batch, item, int(attempt)),
        lease=lease,
        attempts_spent=int(attempts_spent),
        refusals=int(refusals),
        image=spec["image"],
        prompt=spec["prompt"],
        params=spec["params"],
        is_take=bool(spec.get("take_of")),
    )


def source(item: str, task_id: str, outcome_text: str) -> Source:
    """Return an item that was bought from its parts in the ledger."""
    return Source(item, task_id, json.loads(outcome_text))


def poll_lease(row: Sequence[str], lease: str) -> PollLease:
    """Return a lease from a row of `claim_due.lua`."""
    batch, item, batch_status, state, attempt, attempts_spent, task, token, posted = row[:9]
    failed_polls, failed_copies, hint_task, hint_token, hint_by, reserved, price, now = row[9:17]
    failed_replies, reused_from, outcome = row[17:]
    return PollLease(
        run=RunId(batch, item, int(attempt)),
        lease=lease,
        batch_status=batch_status,
        state=ItemState(state),
        attempts_spent=int(attempts_spent),
        task_id=task,
        token=token,
        age_s=(int(now) - int(posted)) / 1000,
        failed_polls=int(failed_polls),
        failed_copies=int(failed_copies),
        hint_task=hint_task,
        hint_token=hint_token,
        hint_by=hint_by,
        reserved_usd=from_pico(reserved),
        price_usd=from_pico(price),
        failed_replies=int(failed_replies),
        source=source(reused_from, task, outcome) if reused_from else None,
    )


def lost_run(row: Sequence[Any]) -> LostRun | None:
    """Return a run from a row of `claim_lost_runs.lua` or `unanswered_runs.lua`; None if its item has no spec."""
    batch, item, attempt, posted, spec_text = row
    if not spec_text:
        return None
    spec = json.loads(spec_text)
    return LostRun(
        run=RunId(batch, item, int(attempt)),
        posted=datetime.fromtimestamp(int(posted) / 1000, UTC),
        image=spec["image"],
        prompt=spec["prompt"],
        params=spec["params"],
    )
