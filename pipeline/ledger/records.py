"""What the ledger answers: frozen rows, and how they are read from what Redis holds. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.money import from_pico
from pipeline.domain.results import row_from_document
from pipeline.domain.states import BATCH_TERMINAL, ItemState
from pipeline.errors import DailiesError


@dataclass(frozen=True)
class SubmissionLease:
    """A pending item that is ours to submit until the lease ends."""

    run: RunId
    lease: str
    attempts_spent: int
    refusals: int
    image: str | None
    prompt: str | None
    params: Mapping[str, Any]


@dataclass(frozen=True)
class PollLease:
    """A run that is ours to look at until the lease ends. Times are in seconds."""

    run: RunId
    lease: str
    batch_status: str
    state: ItemState
    attempts_spent: int
    task_id: str
    token: str
    age_s: float
    failed_polls: int
    failed_copies: int
    hint_task: str
    hint_token: str


@dataclass(frozen=True)
class SubmissionLeases:
    """What a worker got, and in how many seconds more is due (None: nothing waits for a time)."""

    runs: list[SubmissionLease]
    next_in_s: float | None
    out_of_budget: list[str]


@dataclass(frozen=True)
class PollLeases:
    """Runs to look at, and in how many seconds the next one is due (None: there is none)."""

    runs: list[PollLease]
    next_in_s: float | None


@dataclass(frozen=True)
class BatchConfig:
    """What all items of a batch share: read once a batch and worker."""

    model: str
    image_field: str
    params: Mapping[str, Any]
    attempts: int
    output: str
    deadline_s: float | None
    tolerated_failures: str | None = None
    budgeted: bool = False
    notify: str | None = None


@dataclass(frozen=True)
class BatchBudget:
    """What a batch may cost, and what one run of it costs; None where there is no limit, or the price is not known."""

    budget_usd: Decimal | None
    price_usd: Decimal | None


@dataclass(frozen=True)
class RunRef:
    """The latest run of an item at the vendor."""

    task_id: str
    token: str
    attempt: int


@dataclass(frozen=True)
class AccountRow:
    """How the vendor's account is doing. `window` None: as many runs as we like.

    `probe_at`: when one run tries whether a paused account takes runs again; None when only a person resumes it.
    """

    active: int
    concurrency_limit: int | None
    paused_reason: str | None
    probe_at: datetime | None
    backoff_until: datetime | None
    backoff_reason: str | None


class Returned(IntEnum):
    """What `return_run` did."""

    NOT_OURS = 0
    WAITS = 1
    MUST_END = 2
    """It waits in a batch that is being cancelled."""


class Paid(IntEnum):
    """What `pay_run` did."""

    NOT_OURS = 0
    DONE = 1
    PLACE_WANTED = 2
    """Something pending waits for the place that is free now."""


class Finished(IntEnum):
    """What `finish_batch` did."""

    NOT_OURS = 0
    DONE = 1
    DUE_AGAIN = 2
    """It has ended, but there is more to say than what was written."""


@dataclass(frozen=True)
class EndedItem:
    """What `end_item` did. `ours` False: somebody else holds the item now, nothing was written."""

    ours: bool
    last: bool
    too_many_failures: bool
    paid: str
    """What its run cost, US dollars as text; '0' when it was not billed."""


def ms(seconds: float) -> int:
    """Seconds as whole milliseconds."""
    return int(seconds * 1000)


def seconds(milliseconds: int) -> float | None:
    """A wait in milliseconds as seconds; a negative one is None."""
    return None if milliseconds < 0 else milliseconds / 1000


def moment(milliseconds: object) -> datetime | None:
    """Milliseconds of the server's clock as aware UTC; 0 is None."""
    value = int(str(milliseconds))
    return datetime.fromtimestamp(value / 1000, UTC) if value else None


def batch_row(batch_id: str, fields: Mapping[str, str]) -> BatchRow:
    """A batch from its hash."""
    counts = {state.value: int(fields.get(f"n:{state}", 0)) for state in ItemState}
    created = moment(fields["created"])
    if created is None:
        raise DailiesError(f"Batch {batch_id!r} has no time of creation: its record is damaged.")
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
    )


LIVE_FIELDS = ("state", "tries", "before", "task", "paid")


def item_row(item_id: str, spec: str, outcome: str | None, review: str | None, fields: Sequence[str | None]) -> ItemRow:
    """An item from its spec, its outcome, its review (JSON texts) and its live LIVE_FIELDS."""
    state, attempts_spent, before, task, paid = fields
    document = {
        "id": item_id,
        "status": state or ItemState.PENDING,
        "attempts": int(attempts_spent or 0) + int(before or 0),
        "task_id": task,
        "cost_usd": paid or "0",
        **json.loads(spec),
        **(json.loads(outcome) if outcome else {}),
        "review": json.loads(review) if review else None,
    }
    return row_from_document(document)


def due_row(fields: Sequence[str], lease: str) -> PollLease:
    """A claimed run from one row of `claim_due.lua`."""
    batch, item, status, state, attempt, attempts_spent, task, token, posted = fields[:9]
    failed_polls, failed_copies, hint_task, hint_token, now = fields[9:]
    return PollLease(
        run=RunId(batch, item, int(attempt)),
        lease=lease,
        batch_status=status,
        state=ItemState(state),
        attempts_spent=int(attempts_spent),
        task_id=task,
        token=token,
        age_s=(int(now) - int(posted)) / 1000,
        failed_polls=int(failed_polls),
        failed_copies=int(failed_copies),
        hint_task=hint_task,
        hint_token=hint_token,
    )
