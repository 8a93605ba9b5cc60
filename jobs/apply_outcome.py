"""Application of outcomes: the only module that changes a run after a post, a poll or a copy.

The ledger accepts a change only from the worker that holds the lease. After it has, the change is logged, noted in the
journal, and the jobs that can go on are enqueued.
"""

from __future__ import annotations

from decimal import Decimal

import structlog

from jobs.context import Context
from jobs.leases import Leased, run_fields
from jobs.run_outcomes import (
    Accept,
    AccountEffect,
    Adopt,
    BackOff,
    CopyOutputs,
    End,
    EndStopped,
    LimitConcurrency,
    MarkUnknown,
    Pause,
    PauseModel,
    PollTransition,
    PostOutcome,
    RecordSuccess,
    RejectHint,
    Release,
    Requeue,
    RunAnew,
    StopTask,
    end_stopped,
)
from pipeline.batches.job_queue import Job
from pipeline.domain import retry_policy
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.ledger.records import (
    AcceptResult,
    Charge,
    Failure,
    PollLease,
    RequeueResult,
    SubmissionLease,
    SuccessResult,
)
from pipeline.wiro.client import Task

log = structlog.get_logger()


def apply_post(ctx: Context, lease: SubmissionLease, outcome: PostOutcome) -> bool:
    """Apply the outcome of a post, to the account first. Return False if the lease was lost."""
    if outcome.account_effect:
        _apply_to_account(ctx, lease, outcome.account_effect)
    match outcome.transition:
        case Accept() as accept:
            return _accept(ctx, lease, accept)
        case MarkUnknown():
            return _mark_unknown(ctx, lease)
        case Requeue() as requeue:
            return _requeue(ctx, lease, ItemState.SUBMITTING, requeue)
        case End() as end:
            return _end(ctx, lease, ItemState.SUBMITTING, end)


def apply_poll(ctx: Context, lease: PollLease, transition: PollTransition) -> bool:
    """Apply the transition that a poll or a copy led to. Return False if the lease was lost."""
    match transition:
        case Release(delay_s, failure):
            return _release(ctx, lease, delay_s, failure)
        case StopTask(delay_s=delay_s):
            return _release(ctx, lease, delay_s, Failure.POLL)
        case RejectHint(task_id):
            log.warning("callback_task_rejected", **run_fields(lease), task=task_id)
            return _release(ctx, lease, 0)
        case Adopt() as adopt:
            return _adopt(ctx, lease, adopt)
        case RecordSuccess(task):
            return _record_success(ctx, lease, task)
        case CopyOutputs():
            return True
        case RunAnew():
            return _run_anew(ctx, lease)
        case Requeue() as requeue:
            return _requeue(ctx, lease, lease.state, requeue)
        case EndStopped() as stopped:
            reason = ctx.service.ledger.batches.get(lease.run.batch).reason
            return _end(ctx, lease, lease.state, end_stopped(reason, stopped))
        case End() as end:
            return _end(ctx, lease, lease.state, end)


def _apply_to_account(ctx: Context, lease: SubmissionLease, effect: AccountEffect) -> None:
    account = ctx.service.ledger.account
    match effect:
        case LimitConcurrency(allowed):
            account.limit_concurrency(allowed)
        case BackOff(first_s, reason):
            account.back_off(first_s=first_s, longest_s=max(first_s, retry_policy.MAX_BACKOFF_S), reason=reason)
        case Pause(reason):
            ctx.refusals.record()
            account.pause(reason, probe_after_s=ctx.service.settings.sweep_every_s)
        case PauseModel(reason):
            model = ctx.batch_config(lease.run.batch).model
            ctx.refusals.record(model)
            paused = ctx.service.control.pause_model(model, reason)
            if paused:
                log.warning("model_paused", model=model, batches=paused, reason=reason)


def _mark_unknown(ctx: Context, lease: SubmissionLease) -> bool:
    adopt_wait_s = ctx.service.settings.adopt_wait_s
    is_marked = ctx.service.ledger.runs.mark_unknown(lease.run, lease.lease, adopt_wait_s=adopt_wait_s)
    if is_marked:
        ctx.service.job_queue.enqueue_in(Job.FIND_LOST_RUNS, retry_policy.FIRST_SEARCH_S)
        # Others may wait until this post has ended.
        ctx.service.job_queue.enqueue_once(Job.SUBMIT)
    return is_marked


def _accept(ctx: Context, lease: SubmissionLease, accept: Accept) -> bool:
    runs, delay_s = ctx.service.ledger.runs, ctx.poll_delay_s(0)
    log.info("run_submitted", **run_fields(lease), task=accept.task_id)
    # Also if the lease was lost: the journal must hold the task of every paid run.
    _note(ctx, lease, "task", task=accept.task_id, token=accept.token)
    accepted = runs.accept(lease.run, lease.lease, accept.task_id, accept.token, delay_s)
    if accepted is AcceptResult.ACCOUNT_PROVEN:
        ctx.service.job_queue.enqueue_once(Job.SUBMIT)
    if accepted:
        ctx.service.job_queue.enqueue_in(Job.COLLECT, delay_s)
        return True
    if runs.record_callback(lease.run, accept.task_id, accept.token, found_by=None):
        # The lease expired before the response came: the response is a hint, like a callback.
        ctx.service.job_queue.enqueue_once(Job.COLLECT)
    return False


def _adopt(ctx: Context, lease: PollLease, adopt: Adopt) -> bool:
    if not ctx.service.ledger.runs.accept(lease.run, lease.lease, adopt.task_id, adopt.token, 0):
        return False
    log.info("run_adopted", **run_fields(lease), task=adopt.task_id, found_by=lease.hint_by)
    _note(ctx, lease, "task", task=adopt.task_id, token=adopt.token, found_by=lease.hint_by)
    ctx.service.job_queue.enqueue_once(Job.COLLECT)
    return True


def _requeue(ctx: Context, leased: Leased, state: ItemState, requeue: Requeue) -> bool:
    if requeue.error is not None:
        log.info("attempt_failed", **run_fields(leased), error=requeue.error)
    charge = _charge(leased, requeue.cost_usd)
    returned = ctx.service.ledger.runs.requeue(
        leased.run, leased.lease, state, delay_s=requeue.delay_s, counted=requeue.counted, charge=charge
    )
    if returned is RequeueResult.NOT_OURS:
        log.warning("lease_lost", **run_fields(leased), state=ItemState.PENDING)
        return False
    _note_charge(ctx, leased, charge)
    if state == ItemState.SUBMITTING:
        _note(ctx, leased, "back")
    _continue_pending(ctx, leased, returned, requeue.delay_s)
    return True


def _continue_pending(ctx: Context, leased: Leased, returned: RequeueResult, delay_s: float) -> None:
    """Enqueue the next run of an item that is pending again, or cancel it with its batch."""
    if returned is RequeueResult.WAITS:
        ctx.service.job_queue.enqueue_in(Job.SUBMIT, delay_s)
    else:
        reason = ctx.service.ledger.batches.get(leased.run.batch).reason or Stop.BY_HAND
        ctx.service.control.cancel_pending(leased.run.batch, reason)


def _release(ctx: Context, lease: PollLease, delay_s: float, failure: Failure | None = None) -> bool:
    released = ctx.service.ledger.runs.release(lease, delay_s=delay_s, failure=failure)
    if released:
        ctx.service.job_queue.enqueue_in(Job.COLLECT, delay_s)
    return released


def _run_anew(ctx: Context, lease: PollLease) -> bool:
    returned = ctx.service.ledger.reusable.run_anew(lease)
    if returned is RequeueResult.NOT_OURS:
        log.warning("lease_lost", **run_fields(lease), state=ItemState.PENDING)
        return False
    log.warning("reusable_output_missing", **run_fields(lease), reused_from=lease.source and lease.source.item)
    _continue_pending(ctx, lease, returned, 0)
    return True


def _record_success(ctx: Context, lease: PollLease, task: Task) -> bool:
    # A success is billed, also if the vendor does not state the amount.
    cost_usd = lease.reserved_usd if task.cost_usd is None else task.cost_usd
    paid = ctx.service.ledger.runs.record_success(lease, cost_usd)
    if paid is SuccessResult.NOT_OURS:
        return False
    log.info("run_succeeded", **run_fields(lease), task=task.id, cost_usd=str(cost_usd))
    _warn_of_overcharge(lease, Charge.of(lease, cost_usd))
    if paid is SuccessResult.SLOT_WANTED:
        ctx.service.job_queue.enqueue_once(Job.SUBMIT)
    return True


def _end(ctx: Context, leased: Leased, state: ItemState, end: End) -> bool:
    charge = _charge(leased, end.cost_usd)
    ended = ctx.service.ledger.runs.end(leased.run, leased.lease, state, end.to, end.result, charge=charge)
    if not ended.ours:
        log.warning("lease_lost", **run_fields(leased), state=end.to)
        return False
    log.info("item_ended", **run_fields(leased), state=end.to, error=end.result.get("error"))
    _note_charge(ctx, leased, charge)
    _note(ctx, leased, "end", cost_usd=ended.paid, outcome={"status": end.to, **end.result})
    if ended.too_many_failures:
        ctx.service.control.stop(leased.run.batch, Stop.FAILURES, [BatchState.RUNNING, BatchState.PAUSED])
    if state in (ItemState.SUBMITTING, ItemState.RUNNING):
        # The run has left its slot.
        ctx.service.job_queue.enqueue_once(Job.SUBMIT)
    if ended.last:
        ctx.service.job_queue.enqueue_once(Job.FINISH, leased.run.batch)
    return True


def _charge(leased: Leased, cost_usd: Decimal) -> Charge:
    return Charge.of(leased, cost_usd) if isinstance(leased, PollLease) else Charge()


def _note_charge(ctx: Context, leased: Leased, charge: Charge) -> None:
    """Report the charge of a run that did not succeed."""
    if charge.usd:
        log.info("failed_run_charged", **run_fields(leased), cost_usd=str(charge.usd))
        _note(ctx, leased, "charge", cost_usd=str(charge.usd))
    _warn_of_overcharge(leased, charge)


def _warn_of_overcharge(leased: Leased, charge: Charge) -> None:
    if charge.warning:
        log.warning("run_overcharged", **run_fields(leased), cost_usd=str(charge.usd), detail=charge.warning)


def _note(ctx: Context, leased: Leased, do: str, **fields: object) -> None:
    run = leased.run
    entry = {"do": do, "item": run.item, "attempt": run.attempt, **fields}
    ctx.service.journal.note(ctx.batch_config(run.batch).output, entry)
