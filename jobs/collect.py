"""The `collect` job: polls runs at the vendor and copies the outputs of those that succeeded.

A callback only makes a run due. Its body is not trusted: Task/Detail decides what happened.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import structlog

from jobs.apply_outcome import apply_poll
from jobs.context import Context, context
from jobs.leases import run_fields
from jobs.output_copy import copy_outputs
from jobs.reuse import copy_bought
from jobs.run_outcomes import (
    CopyOutputs,
    RecordSuccess,
    StopTask,
    classify_copy_error,
    classify_poll,
    classify_stop,
    classify_unforeseen,
    end_copied,
)
from jobs.unposted_runs import retry_give_back
from jobs.worker_slots import enqueue_next, work
from pipeline.batches.job_queue import Job
from pipeline.domain.states import ItemState
from pipeline.errors import CopyFailed, StorageError
from pipeline.ledger.records import PollLease
from pipeline.observability import tracing
from pipeline.wiro.client import Task
from pipeline.wiro.errors import TaskNotFound, WiroError

log = structlog.get_logger()


def collect() -> None:
    """Poll every run that is due: after a callback, after its poll delay, or because its lease expired."""
    ctx = context()
    ctx.service.job_queue.clear_pending(Job.COLLECT)
    retry_give_back(ctx)
    if work(lambda limit: _claim(ctx, limit), lambda lease: _collect(ctx, lease), ctx.leases):
        ctx.service.job_queue.enqueue_once(Job.COLLECT)


def _claim(ctx: Context, limit: int) -> Sequence[PollLease]:
    claims = ctx.service.ledger.runs.claim_due(limit, lease_s=ctx.service.settings.lease_s)
    enqueue_next(ctx.service.job_queue, Job.COLLECT, claims, limit)
    return claims.runs


def _collect(ctx: Context, lease: PollLease) -> None:
    with tracing.step("collect", lease.run, lease.task_id):
        try:
            _collect_run(ctx, lease)
        except Exception as error:
            log.exception("run_not_collected", **run_fields(lease))
            _release(ctx, lease, error)


def _release(ctx: Context, lease: PollLease, error: Exception) -> None:
    """Release a run after an unforeseen exception. It may be collecting by now: its success may be recorded."""
    for state in dict.fromkeys((lease.state, ItemState.COLLECTING)):
        held = replace(lease, state=state)
        if apply_poll(ctx, held, classify_unforeseen(held, error, random_share=random.random())):
            return


def _collect_run(ctx: Context, lease: PollLease) -> None:
    if lease.source:
        copy_bought(ctx, lease, lease.source)
        return
    poll_delay_s = ctx.poll_delay_s(lease.age_s)
    transition = classify_poll(
        lease,
        _poll(ctx, lease),
        attempts_allowed=ctx.batch_config(lease.run.batch).attempts,
        poll_delay_s=poll_delay_s,
        expected_callback_url=ctx.callback_url(lease.run),
        random_share=random.random(),
    )
    if isinstance(transition, StopTask):
        error = _stop(ctx, lease, transition.task)
        transition = classify_stop(transition, error, poll_delay_s=poll_delay_s)
    is_ours = apply_poll(ctx, lease, transition)
    if is_ours and isinstance(transition, RecordSuccess | CopyOutputs):
        _copy(ctx, replace(lease, state=ItemState.COLLECTING), transition.task)


def _poll(ctx: Context, lease: PollLease) -> Task | WiroError:
    try:
        if lease.state == ItemState.UNKNOWN:
            return ctx.wiro.task(token=lease.hint_token, task_id=lease.hint_task)
        return ctx.wiro.task(token=lease.token, task_id="" if lease.token else lease.task_id)
    except TaskNotFound as error:
        return error
    except WiroError as error:
        log.warning("poll_failed", **run_fields(lease), error=str(error))
        return error


def _stop(ctx: Context, lease: PollLease, task: Task) -> WiroError | None:
    """Cancel or kill a task. A later poll finds out whether it has ended. Return the vendor's refusal."""
    stop = ctx.wiro.cancel if task.queued else ctx.wiro.kill
    try:
        stop(task.id, task.token)
    except WiroError as error:
        log.warning("task_not_stopped", **run_fields(lease), error=str(error))
        return error
    return None


def _copy(ctx: Context, lease: PollLease, task: Task) -> None:
    folder = ctx.batch_config(lease.run.batch).output
    try:
        outputs = copy_outputs(ctx.service.storage, ctx.downloader, folder, lease.run.item, task)
    except (CopyFailed, StorageError) as error:
        log.warning("copy_failed", **run_fields(lease), error=str(error))
        apply_poll(ctx, lease, classify_copy_error(lease, error, random_share=random.random()))
        return
    apply_poll(ctx, lease, end_copied(task, outputs))
    ctx.service.previews.request(lease.run.batch, lease.run.item)
    if ctx.service.settings.purge_source:
        _purge(ctx, lease, task)


def _purge(ctx: Context, lease: PollLease, task: Task) -> None:
    """Delete the inputs and outputs of a task at the vendor."""
    try:
        ctx.wiro.delete_files(task.token)
    except WiroError as error:
        log.warning("purge_failed", **run_fields(lease), task=task.id, error=str(error))
