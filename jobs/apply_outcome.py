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
    PollTransition,
    PostOutcome,
    RecordSuccess,
    RejectHint,
    Release,
    Requeue,
    StopTask,
    end_stopped,
)
from pipeline.batches.job_queue import Job
from pipeline.domain import retry_policy
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.ledger.records import Failure, PollLease, RequeueResult, SubmissionLease, SuccessResult
from pipeline.wiro.client import Task

log = structlog.get_logger()


def apply_post(ctx: Context, lease: SubmissionLease, outcome: PostOutcome) -> bool:
    """Apply the outcome of a post, to the account first. Return False if the lease was lost."""
    if outcome.account_effect:
        _apply_to_account(ctx, outcome.account_effect)
    match outcome.transition:
        case Accept() as accept:
            return _accept(ctx, lease, accept)
        case MarkUnknown():
            adopt_wait_s = ctx.service.settings.adopt_wait_s
            return ctx.service.ledger.runs.mark_unknown(lease.run, lease.lease, adopt_wait_s=adopt_wait_s)
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
        case Requeue() as requeue:
            return _requeue(ctx, lease, lease.state, requeue)
        case EndStopped(detail):
            reason = ctx.service.ledger.batches.get(lease.run.batch).reason
            return _end(ctx, lease, lease.state, end_stopped(reason, detail))
        case End() as end:
            return _end(ctx, lease, lease.state, end)


def _apply_to_account(ctx: Context, effect: AccountEffect) -> None:
    account = ctx.service.ledger.account
    match effect:
        case LimitConcurrency(allowed):
            account.limit_concurrency(allowed)
        case BackOff(first_s, reason):
            account.back_off(first_s=first_s, longest_s=max(first_s, retry_policy.MAX_BACKOFF_S), reason=reason)
        case Pause(reason):
            account.pause(reason, probe_after_s=ctx.service.settings.sweep_every_s)


def _accept(ctx: Context, lease: SubmissionLease, accept: Accept) -> bool:
    runs, delay_s = ctx.service.ledger.runs, ctx.poll_delay_s(0)
    log.info("run_submitted", **run_fields(lease), task=accept.task_id)
    # Also if the lease was lost: the journal must hold the task of every paid run.
    _note(ctx, lease, "task", task=accept.task_id, token=accept.token)
    if runs.accept(lease.run, lease.lease, accept.task_id, accept.token, delay_s):
        ctx.service.job_queue.enqueue_in(Job.COLLECT, delay_s)
        return True
    if runs.record_callback(lease.run, accept.task_id, accept.token):
        # The lease expired before the response came: the response is a hint, like a callback.
        ctx.service.job_queue.enqueue_once(Job.COLLECT)
    return False


def _adopt(ctx: Context, lease: PollLease, adopt: Adopt) -> bool:
    if not ctx.service.ledger.runs.accept(lease.run, lease.lease, adopt.task_id, adopt.token, 0):
        return False
    log.info("run_adopted", **run_fields(lease), task=adopt.task_id)
    ctx.service.job_queue.enqueue_once(Job.COLLECT)
    return True


def _requeue(ctx: Context, leased: Leased, state: ItemState, requeue: Requeue) -> bool:
    is_attempt = requeue.error is not None
    if is_attempt:
        log.info("attempt_failed", **run_fields(leased), error=requeue.error)
    returned = ctx.service.ledger.runs.requeue(
        leased.run, leased.lease, state, delay_s=requeue.delay_s, spent=is_attempt
    )
    if returned is RequeueResult.NOT_OURS:
        log.warning("lease_lost", **run_fields(leased), state=ItemState.PENDING)
        return False
    if state == ItemState.SUBMITTING:
        _note(ctx, leased, "back")
    if returned is RequeueResult.WAITS:
        ctx.service.job_queue.enqueue_in(Job.SUBMIT, requeue.delay_s)
    else:
        reason = ctx.service.ledger.batches.get(leased.run.batch).reason or Stop.BY_HAND
        ctx.service.control.cancel_pending(leased.run.batch, reason)
    return True


def _release(ctx: Context, lease: PollLease, delay_s: float, failure: Failure | None = None) -> bool:
    released = ctx.service.ledger.runs.release(lease, delay_s=delay_s, failure=failure)
    if released:
        ctx.service.job_queue.enqueue_in(Job.COLLECT, delay_s)
    return released


def _record_success(ctx: Context, lease: PollLease, task: Task) -> bool:
    paid = ctx.service.ledger.runs.record_success(lease, task.cost_usd or Decimal(0))
    if paid is SuccessResult.NOT_OURS:
        return False
    log.info("run_succeeded", **run_fields(lease), task=task.id, cost_usd=str(task.cost_usd))
    if paid is SuccessResult.SLOT_WANTED:
        ctx.service.job_queue.enqueue_once(Job.SUBMIT)
    return True


def _end(ctx: Context, leased: Leased, state: ItemState, end: End) -> bool:
    ended = ctx.service.ledger.runs.end(leased.run, leased.lease, state, end.to, end.result)
    if not ended.ours:
        log.warning("lease_lost", **run_fields(leased), state=end.to)
        return False
    log.info("item_ended", **run_fields(leased), state=end.to, error=end.result.get("error"))
    _note(ctx, leased, "end", cost_usd=ended.paid, outcome={"status": end.to, **end.result})
    if ended.too_many_failures:
        ctx.service.control.stop(leased.run.batch, Stop.FAILURES, [BatchState.RUNNING, BatchState.PAUSED])
    if state in (ItemState.SUBMITTING, ItemState.RUNNING):
        # The run has left its slot.
        ctx.service.job_queue.enqueue_once(Job.SUBMIT)
    if ended.last:
        ctx.service.job_queue.enqueue_once(Job.FINISH, leased.run.batch)
    return True


def _note(ctx: Context, leased: Leased, do: str, **fields: object) -> None:
    run = leased.run
    entry = {"do": do, "item": run.item, "attempt": run.attempt, **fields}
    ctx.service.journal.note(ctx.batch_config(run.batch).output, entry)
