"""Classification of posts, polls and copies: a response or an error → what happens to the run and the account. Pure.

`jobs.apply_outcome` applies the outcomes. Delays are in seconds. `random_share` is in [0, 1) and spreads the delays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pipeline.domain import retry_policy
from pipeline.domain.model import Output
from pipeline.domain.results import output_document
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.errors import CopyFailed, DailiesError, NoOutput, OperationFailed, StorageError, Unreachable
from pipeline.ledger.records import Counted, Failure, FoundBy, PollLease, Source, SubmissionLease
from pipeline.wiro import errors
from pipeline.wiro.client import Run, Task

_ACCOUNT_WIDE = (errors.AccountRefused, errors.ModelNotAllowed)
"""Refusals that do not concern the item: they fail none."""
_FIRST_BACKOFF_S = 1.0
_FIRST_SLOT_WAIT_S = 0.5
_NOT_COPIED = "The run succeeded and is paid, but its output was not copied: {} `dailies retry` copies it again."
_NOT_CONFIRMED = "The vendor did not confirm that the task was stopped."
_SHORT_OUTAGE_ATTEMPT = 3
"""Requests that fail without a counter are repeated after the delay of a third attempt: 2 to 4 s."""


@dataclass(frozen=True)
class Accept:
    """The vendor took the run."""

    task_id: str
    token: str


@dataclass(frozen=True)
class MarkUnknown:
    """The response to the post was lost: the vendor may have taken the run. It is not posted again."""


@dataclass(frozen=True)
class Requeue:
    """The item waits for its next run. `error`: why the attempt failed; None if the run spends no attempt.

    `is_refusal`: if it spends no attempt, it counts against the limit of refusals. `cost_usd`: what was charged for it.
    """

    delay_s: float
    error: str | None = None
    is_refusal: bool = True
    cost_usd: Decimal = Decimal(0)

    @property
    def counted(self) -> Counted:
        """What the run counts as."""
        if self.error is not None:
            return Counted.ATTEMPT
        return Counted.REFUSAL if self.is_refusal else Counted.NOTHING


@dataclass(frozen=True)
class End:
    """The item ends in state `to`. `result`: error, elapsed_s and outputs, as in a row of the results.

    `cost_usd`: what was charged for a run that did not succeed.
    """

    to: ItemState
    result: Mapping[str, Any]
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class EndStopped:
    """The run of a batch that is being cancelled ends: the batch's reason decides the item's state."""

    detail: str
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class Release:
    """The run is polled again after `delay_s`. `failure`: what failed, to be counted."""

    delay_s: float
    failure: Failure | None = None


@dataclass(frozen=True)
class StopTask:
    """The vendor must cancel or kill the task. The run is polled again after `delay_s`."""

    task: Task
    delay_s: float


@dataclass(frozen=True)
class Adopt:
    """A run with a lost response is found: it continues with this task."""

    task_id: str
    token: str


@dataclass(frozen=True)
class RejectHint:
    """A task was named whose callback URL belongs to another run: the run stays unknown."""

    task_id: str


@dataclass(frozen=True)
class RecordSuccess:
    """The task succeeded: record its cost, then copy its outputs."""

    task: Task


@dataclass(frozen=True)
class CopyOutputs:
    """The success is recorded already: copy the outputs of the task."""

    task: Task


@dataclass(frozen=True)
class RunAnew:
    """The outputs that were to be copied in place of a run do not exist: the item waits for a run of its own."""


@dataclass(frozen=True)
class LimitConcurrency:
    """The account allows no more than `allowed` runs at a time; None: fewer than now."""

    allowed: int | None


@dataclass(frozen=True)
class BackOff:
    """All submissions wait: `first_s` seconds at first, longer after each further refusal."""

    first_s: float
    reason: str


@dataclass(frozen=True)
class Pause:
    """All submissions stop until a probe succeeds or a person resumes the account."""

    reason: str


@dataclass(frozen=True)
class PauseModel:
    """The account may not run the model: its running batches are paused until a person resumes them."""

    reason: str


PostTransition = Accept | MarkUnknown | Requeue | End
PollTransition = (
    Requeue | End | EndStopped | Release | StopTask | Adopt | RejectHint | RecordSuccess | CopyOutputs | RunAnew
)
AccountEffect = LimitConcurrency | BackOff | Pause | PauseModel


@dataclass(frozen=True)
class PostOutcome:
    """What a post means for the run, and for the account that all runs share."""

    transition: PostTransition
    account_effect: AccountEffect | None = None


def classify_post(
    lease: SubmissionLease,
    result: Run | errors.WiroError | StorageError,
    *,
    attempts_allowed: int,
    random_share: float,
) -> PostOutcome:
    """Classify the result of a post. `attempts_allowed`: `limits.attempts` of the batch."""
    if isinstance(result, Run):
        return PostOutcome(Accept(result.task_id, result.token))
    error = str(result)
    match result:
        case errors.ResponseLost():
            return PostOutcome(MarkUnknown())
        case errors.TooManyTasks():
            # A slot is free when one of our runs ends, and `limits.deadline` ends the batch: this fails no item.
            return PostOutcome(Requeue(_slot_wait_s(lease, random_share)), LimitConcurrency(result.allowed))
        case errors.RateLimited():
            back_off = BackOff(result.retry_after_s or _FIRST_BACKOFF_S, error)
            return PostOutcome(_requeue_refused(lease, error, random_share), back_off)
        case errors.NotSent():
            return PostOutcome(_requeue_refused(lease, error, random_share), BackOff(_FIRST_BACKOFF_S, error))
        case errors.AccountRefused():
            return PostOutcome(requeue_unposted(random_share), Pause(error))
        case errors.ModelNotAllowed():
            return PostOutcome(requeue_unposted(random_share), PauseModel(error))
        case errors.VendorFault():
            retry = _retry_or_fail(lease.attempts_spent, attempts_allowed, error, random_share)
            return PostOutcome(retry, BackOff(result.retry_after_s or _FIRST_BACKOFF_S, error))
        case StorageError(retryable=True):
            return PostOutcome(_retry_or_fail(lease.attempts_spent, attempts_allowed, error, random_share))
        case _:
            return PostOutcome(_fail(error))


def requeue_unposted(random_share: float) -> Requeue:
    """Return what happens to an item while the account cannot run it: it waits, and nothing counts against it."""
    return Requeue(retry_policy.backoff(1, random_share), is_refusal=False)


def classify_unposted(lease: SubmissionLease, error: Exception, *, random_share: float) -> PostOutcome:
    """Classify an exception before the post, such as a journal that cannot be written: nothing was bought.

    It spends no attempt. An outage of S3 or Redis fails no item. Anything else is a bug or a damaged record: it fails
    the item after MAX_UNPOSTED times.
    """
    if not isinstance(error, OperationFailed | Unreachable) and lease.refusals + 1 >= retry_policy.MAX_UNPOSTED:
        reason = str(error) if isinstance(error, DailiesError) else f"an unforeseen {type(error).__name__}"
        return PostOutcome(_fail(f"The run was not posted, and nothing was paid: {reason}. See the worker's log."))
    attempt = max(_SHORT_OUTAGE_ATTEMPT, lease.refusals + 1)
    return PostOutcome(Requeue(retry_policy.backoff(attempt, random_share)))


def classify_unforeseen(lease: PollLease, error: Exception, *, random_share: float) -> Release | End | EndStopped:
    """Classify an unforeseen exception while a run was polled or its outputs were copied."""
    if lease.state == ItemState.COLLECTING:
        copy_failed = CopyFailed(f"Unforeseen {type(error).__name__}, see the worker's log.", retryable=True)
        if lease.source:
            return classify_reuse_error(lease, lease.source, copy_failed, random_share=random_share)
        return classify_copy_error(lease, copy_failed, random_share=random_share)
    return _unanswered(lease, f"an unforeseen {type(error).__name__}", random_share)


def classify_poll(
    lease: PollLease,
    result: Task | errors.WiroError,
    *,
    attempts_allowed: int,
    poll_delay_s: float,
    expected_callback_url: str | None,
    random_share: float,
) -> PollTransition:
    """Classify the result of a poll.

    `poll_delay_s`: the delay before the next poll of a task that still runs. `expected_callback_url`: the callback
    URL of the run, which a task must have to be adopted; None without callbacks.
    """
    if isinstance(result, errors.TaskNotFound):
        return _task_not_found(lease, result, random_share)
    if isinstance(result, errors.WiroError):
        least_s = poll_delay_s if isinstance(result, _ACCOUNT_WIDE) else result.retry_after_s or 0
        return _unanswered(lease, str(result), random_share, least_s=least_s)
    if lease.state == ItemState.UNKNOWN:
        return _adopt(lease, result, expected_callback_url)
    if lease.state == ItemState.COLLECTING:
        return CopyOutputs(result)
    is_cancelling = lease.batch_status == BatchState.CANCELLING
    if not result.ended:
        return _stop_task(lease, result, random_share) if is_cancelling else Release(poll_delay_s)
    if result.succeeded:
        return RecordSuccess(result)
    cost_usd = result.cost_usd or Decimal(0)
    if is_cancelling:
        return EndStopped("Stopped at the vendor.", cost_usd)
    if result.cancelled:
        return End(ItemState.CANCELLED, {"error": "The task was cancelled at the vendor."}, cost_usd)
    outcome = _retry_or_fail(lease.attempts_spent, attempts_allowed, result.failure_reason, random_share)
    return replace(outcome, cost_usd=cost_usd)


def classify_stop(stop: StopTask, error: errors.WiroError | None, *, poll_delay_s: float) -> StopTask | Release:
    """Classify the result of a Cancel or Kill. While the account cannot do it, it is repeated less often."""
    if isinstance(error, _ACCOUNT_WIDE):
        return Release(max(stop.delay_s, poll_delay_s), failure=Failure.REPLY)
    return stop


def classify_copy_error(lease: PollLease, error: CopyFailed | StorageError, *, random_share: float) -> Release | End:
    """Classify a failed copy of the outputs of a run that is paid."""
    if isinstance(error, NoOutput):
        return _fail(f"{error} The run is paid and is not repeated. Change the prompt or the image, and run it anew.")
    if error.retryable and lease.failed_copies + 1 < retry_policy.MAX_COPY_ATTEMPTS:
        return Release(retry_policy.backoff(lease.failed_copies + 1, random_share), failure=Failure.COPY)
    return _fail(_NOT_COPIED.format(error))


def classify_reuse(source: Source, copies: list[Output] | None) -> End | RunAnew:
    """Classify the copies of the outputs of an earlier item. None: they do not exist."""
    if not copies:
        return RunAnew()
    outputs = [output_document(copy) for copy in copies]
    elapsed_s = source.outcome.get("elapsed_s")
    return End(ItemState.SUCCEEDED, {"elapsed_s": elapsed_s, "outputs": outputs, "reused_from": source.item})


def classify_reuse_error(
    lease: PollLease, source: Source, error: StorageError | CopyFailed, *, random_share: float
) -> Release | End:
    """Classify a failed copy of the outputs of an earlier item."""
    if error.retryable and lease.failed_copies + 1 < retry_policy.MAX_COPY_ATTEMPTS:
        return Release(retry_policy.backoff(lease.failed_copies + 1, random_share), failure=Failure.COPY)
    return _fail(f"The output of {source.item} was not copied: {error} Nothing was bought. `dailies retry` copies it.")


def end_copied(task: Task, outputs: list[Output]) -> End:
    """Return the end of an item whose outputs are on S3."""
    elapsed_s = None if task.elapsed_s is None else str(task.elapsed_s)
    result = {"elapsed_s": elapsed_s, "outputs": [output_document(output) for output in outputs]}
    return End(ItemState.SUCCEEDED, result)


def end_stopped(reason: str | None, stopped: EndStopped) -> End:
    """Return the end of an item whose batch was stopped for `reason`: failed after the deadline, else cancelled."""
    reason = reason or Stop.BY_HAND
    to = ItemState.FAILED if reason == Stop.DEADLINE else ItemState.CANCELLED
    return End(to, {"error": f"{reason} {stopped.detail}"}, stopped.cost_usd)


def _fail(error: str) -> End:
    return End(ItemState.FAILED, {"error": error})


def _retry_or_fail(attempts_spent: int, attempts_allowed: int, error: str, random_share: float) -> Requeue | End:
    if attempts_spent >= attempts_allowed:
        return _fail(error)
    return Requeue(retry_policy.backoff(attempts_spent, random_share), error=error)


def _requeue_refused(lease: SubmissionLease, error: str, random_share: float) -> Requeue | End:
    """The vendor refused the run for now: it spends no attempt."""
    if lease.refusals >= retry_policy.MAX_REFUSALS:
        return _fail(error)
    return Requeue(retry_policy.backoff(lease.refusals + 1, random_share))


def _slot_wait_s(lease: SubmissionLease, random_share: float) -> float:
    delay_s = retry_policy.backoff(lease.refusals + 1, random_share, first_s=_FIRST_SLOT_WAIT_S)
    return min(delay_s, retry_policy.MAX_SLOT_WAIT_S)


def _task_not_found(lease: PollLease, error: errors.TaskNotFound, random_share: float) -> Release | End:
    if lease.failed_polls + 1 < retry_policy.MAX_POLL_ATTEMPTS:
        return Release(retry_policy.backoff(lease.failed_polls + 1, random_share), failure=Failure.POLL)
    if lease.state == ItemState.UNKNOWN:
        return Release(0)
    return _fail(f"The vendor no longer has the task: {error}")


def _unanswered(
    lease: PollLease, reason: str, random_share: float, *, least_s: float = 0
) -> Release | End | EndStopped:
    """The vendor does not report what became of a run. It is polled ever less often, and not forever."""
    polls = lease.failed_replies + 1
    is_cancelling = lease.batch_status == BatchState.CANCELLING
    if is_cancelling and lease.state == ItemState.RUNNING and polls >= retry_policy.MAX_UNANSWERED_STOPS:
        return EndStopped(_NOT_CONFIRMED)
    if lease.state == ItemState.UNKNOWN and polls >= retry_policy.MAX_UNANSWERED_STOPS:
        # Without the hint, the run waits for its callback, and is held as unknown at last.
        return Release(0)
    if polls >= retry_policy.MAX_UNANSWERED_POLLS and lease.state == ItemState.COLLECTING:
        return _fail(_NOT_COPIED.format(f"the vendor did not show it for a day: {reason}"))
    if polls >= retry_policy.MAX_UNANSWERED_POLLS:
        return _fail(
            f"For a day the vendor did not report what became of the task {lease.task_id}, which may be paid: "
            f"{reason.rstrip('.')}. Look at it there: `dailies retry` buys a new run."
        )
    delay_s = retry_policy.backoff(_SHORT_OUTAGE_ATTEMPT + lease.failed_replies, random_share)
    return Release(max(delay_s, least_s), failure=Failure.REPLY)


def _stop_task(lease: PollLease, task: Task, random_share: float) -> StopTask | EndStopped:
    is_refused = lease.failed_replies + 1 >= retry_policy.MAX_UNANSWERED_STOPS
    if is_refused or lease.failed_polls + 1 >= retry_policy.MAX_POLL_ATTEMPTS:
        return EndStopped(_NOT_CONFIRMED)
    return StopTask(task, retry_policy.backoff(lease.failed_polls + 1, random_share))


def _adopt(lease: PollLease, task: Task, expected_callback_url: str | None) -> Adopt | RejectHint:
    """A callback's body is not trusted: the task must have the callback URL of the run.

    A task that was found by its parameters must have none if the run has none.
    """
    is_comparable = expected_callback_url or lease.hint_by == FoundBy.TASK_LIST
    if task.callback_url and is_comparable and task.callback_url != expected_callback_url:
        return RejectHint(task.id)
    return Adopt(task.id, task.token)
