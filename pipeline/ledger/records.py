"""What the stores return: frozen records. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.formatting import dollars, when
from pipeline.domain.money import MAX_USD, overcharge_warning
from pipeline.domain.states import ItemState


@dataclass(frozen=True)
class SubmissionLease:
    """The right to submit an item until the lease expires."""

    run: RunId
    lease: str
    attempts_spent: int
    refusals: int
    image: str | None
    prompt: str | None
    params: Mapping[str, Any]
    is_take: bool = False
    """A person asked for it as another take of an item."""
    reuse_key: str = ""
    """Digest of the run; '' if it is not known."""


@dataclass(frozen=True)
class SubmissionLeases:
    """Leased items, the seconds until more are due (None: no item waits for a time), and batches out of budget."""

    runs: list[SubmissionLease]
    next_in_s: float | None
    out_of_budget: list[str]


@dataclass(frozen=True)
class Source:
    """An item that was bought: "batch/item", its task, and its outcome {elapsed_s, outputs}."""

    item: str
    task_id: str
    outcome: Mapping[str, Any]


@dataclass(frozen=True)
class Reused:
    """An item that has the outputs of `source` in place of a run. `digest`: of the run, which is the same for both."""

    run: RunId
    digest: str
    source: Source


@dataclass(frozen=True)
class PollLease:
    """The right to poll a run and to copy its outputs until the lease expires."""

    run: RunId
    lease: str
    batch_status: str
    state: ItemState
    attempts_spent: int
    task_id: str
    token: str
    age_s: float
    failed_polls: int
    """"No such task", in a row."""
    failed_copies: int
    hint_task: str
    """Task id that a callback or the search for lost runs named; it is not verified."""
    hint_token: str
    hint_by: str = ""
    """What named the task: "callback", "task list", or '' for a late response."""
    reserved_usd: Decimal = Decimal(0)
    """What is reserved for the run."""
    price_usd: Decimal = Decimal(0)
    """The expected price of the run; 0 if it is not known."""
    failed_replies: int = 0
    """Polls without a usable response, in a row."""
    source: Source | None = None
    """The item whose outputs are copied in place of a run. None: the item has a run of its own."""


@dataclass(frozen=True)
class PollLeases:
    """Leased runs, and the seconds until the next one is due (None: no run waits)."""

    runs: list[PollLease]
    next_in_s: float | None


class FoundBy(StrEnum):
    """What named the task of a run whose response was lost."""

    CALLBACK = "callback"
    TASK_LIST = "task list"


@dataclass(frozen=True)
class LostRun:
    """A run whose task is not in the ledger. `posted`: when it was leased for its post."""

    run: RunId
    posted: datetime
    image: str | None
    prompt: str | None
    params: Mapping[str, Any]


@dataclass(frozen=True)
class LostRuns:
    """Runs to search for, the lease of the search, and the seconds until the next search (None: none is due)."""

    runs: list[LostRun]
    lease: str
    next_in_s: float | None


@dataclass(frozen=True)
class Charge:
    """What the vendor charged for a run. `warning`: that it is far above the expected price; '' if it is not."""

    usd: Decimal = Decimal(0)
    warning: str = ""

    @classmethod
    def of(cls, due: PollLease, usd: Decimal) -> Charge:
        """Return the charge of the run of `due`. More than the ledger can count is counted as MAX_USD."""
        what = f"run {due.run.attempt} of item {due.run.item}"
        return cls(min(usd, MAX_USD), overcharge_warning(what, usd, due.price_usd))


@dataclass(frozen=True)
class BatchConfig:
    """What all items of a batch share. It never changes."""

    model: str
    image_field: str
    params: Mapping[str, Any]
    attempts: int
    output: str
    deadline_s: float | None
    tolerated_failures: str | None = None
    budgeted: bool = False
    notify: str | None = None
    image_kind: str = "fileinput"
    """How the field takes the image: `fileinput`, `multifileinput`, `combinefileinput`, or `text` for a URL."""
    reuse: bool = False
    """Outputs that were bought before are copied, not bought."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The defaults of the model's schema for parameters that are left out."""


@dataclass(frozen=True)
class SubmissionRow:
    """How far the submission of a batch is.

    `manifest_digest`: '' of a recovered batch. `cancelled`: why it was cancelled before it was accepted; None if it was
    not.
    """

    manifest_digest: str
    is_accepted: bool
    cancelled: str | None


@dataclass(frozen=True)
class BatchBudget:
    """The budget of a batch (None: no limit) and the highest price of one run of its items (None: not known).

    `set_by`: the key or the setting that the budget is from.
    """

    budget_usd: Decimal | None
    price_usd: Decimal | None
    set_by: str = "limits.budget_usd"

    def capped(self, max_usd: Decimal | None) -> BatchBudget:
        """Return the budget under PIPELINE_MAX_BATCH_USD."""
        if max_usd is None or (self.budget_usd is not None and self.budget_usd <= max_usd):
            return self
        return replace(self, budget_usd=max_usd, set_by="PIPELINE_MAX_BATCH_USD")


@dataclass(frozen=True)
class RunRef:
    """The latest run of an item at the vendor."""

    task_id: str
    token: str
    attempt: int


@dataclass(frozen=True)
class AccountRow:
    """The state of the vendor's account. `concurrency_limit` None: no limit.

    `probe_at`: when a single run probes whether a paused account accepts runs; None if only a person can resume it.
    `day_limit_usd`: the ceiling of a UTC day that workers apply, None: none; `day_spend_usd`: the charges of today;
    `waits_until`: the end of the day if runs wait for the ceiling, else None.
    """

    active: int
    concurrency_limit: int | None
    paused_reason: str | None
    probe_at: datetime | None
    backoff_until: datetime | None
    backoff_reason: str | None
    day_limit_usd: Decimal | None = None
    day_spend_usd: Decimal = Decimal(0)
    waits_until: datetime | None = None

    @property
    def day_notice(self) -> str:
        """Why runs wait for the next day, for people; '' if none does."""
        if self.waits_until is None or self.day_limit_usd is None:
            return ""
        return (
            f"The ceiling of the day is reached: PIPELINE_MAX_DAY_USD is {dollars(self.day_limit_usd)}, and "
            f"{dollars(self.day_spend_usd)} is spent today, without the active runs. Further runs wait until "
            f"{when(self.waits_until)}; nothing fails. To continue now, raise the setting and restart the workers."
        )


class Failure(StrEnum):
    """What failed before an item was released. The value is the field that counts it."""

    POLL = "looks"
    REPLY = "faults"
    """The vendor gave no usable response."""
    COPY = "copies"


class Counted(StrEnum):
    """What a run that came to nothing counts as, for its item."""

    ATTEMPT = "attempt"
    REFUSAL = "refusal"
    NOTHING = "nothing"


class AcceptResult(IntEnum):
    """Result of `RunStore.accept`."""

    NOT_OURS = 0
    ACCEPTED = 1
    ACCOUNT_PROVEN = 2
    """More runs may be posted now than before: the account accepted one after a refusal or a long time."""


class CallbackResult(IntEnum):
    """Result of `RunStore.record_callback`."""

    NOTHING_DUE = 0
    RUN_DUE = 1
    SEARCH_DUE = 2
    """The run is unknown and the callback names no task: it must be searched for."""


@dataclass(frozen=True)
class CallbackResults:
    """Result of `RunStore.record_callbacks`: which jobs must be enqueued."""

    collect: bool
    search: bool


class RequeueResult(IntEnum):
    """Result of `RunStore.requeue`."""

    NOT_OURS = 0
    WAITS = 1
    MUST_END = 2
    """The item is pending in a batch that is being cancelled: the caller cancels it."""


class SuccessResult(IntEnum):
    """Result of `RunStore.record_success`."""

    NOT_OURS = 0
    RECORDED = 1
    SLOT_WANTED = 2
    """Pending items wait for the slot that is free now."""


class FinalizationResult(IntEnum):
    """Result of `FinalizationStore.complete`."""

    NOT_OURS = 0
    DONE = 1
    DUE_AGAIN = 2
    """The batch has ended, but its results changed while they were written."""


@dataclass(frozen=True)
class EndedItem:
    """Result of `RunStore.end`. `ours` False: the lease was lost and nothing was written."""

    ours: bool
    last: bool
    """No other item of the batch is open."""
    too_many_failures: bool
    """More items of the batch have failed than it tolerates."""
    paid: str
    """Cost of the run that succeeded, USD text; '0' if none did."""
