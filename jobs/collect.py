"""`collect`: what became of runs, as the vendor tells it, and their outputs brought home.

A callback only rings; whatever it said, Task/Detail is asked.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import structlog

from jobs.concurrency import work
from jobs.context import Context, context, plan
from jobs.outcomes import end, fail, retry_or_fail, run_fields
from jobs.output_copy import copy_outputs
from pipeline.domain import retry_policy
from pipeline.domain.results import output_document
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.errors import CopyFailed, StorageError
from pipeline.ledger.records import Paid, PollLease
from pipeline.observability import tracing
from pipeline.wiro.client import Task
from pipeline.wiro.errors import TaskNotFound, WiroError

log = structlog.get_logger()


def collect() -> None:
    """Look at every run that is due: rung, to be polled, or left behind by a worker that died."""
    ctx = context()
    ctx.job_queue.clear_pending("collect")
    if work(lambda limit: _claim(ctx, limit), lambda due: _poll(ctx, due), ctx.leases):
        ctx.job_queue.enqueue_once("collect")


def _claim(ctx: Context, limit: int) -> Sequence[PollLease]:
    dues = ctx.ledger.runs.claim_due(limit, lease_s=ctx.settings.lease_s)
    if len(dues.runs) == limit:
        # There may be more than these hands can do: another worker may help.
        ctx.job_queue.enqueue_once("collect")
    elif dues.next_in_s is not None:
        ctx.job_queue.enqueue_in("collect", dues.next_in_s)
    return dues.runs


def _poll(ctx: Context, due: PollLease) -> None:
    with tracing.step("collect", due.run, due.task_id):
        _poll_run(ctx, due)


def _poll_run(ctx: Context, due: PollLease) -> None:
    lost = due.state == ItemState.UNKNOWN
    try:
        task = ctx.wiro.task(token=due.hint_token, task_id=due.hint_task) if lost else _task(ctx, due)
    except TaskNotFound as error:
        _not_found(ctx, due, error)
    except WiroError as error:
        log.warning("look_failed", **run_fields(due), error=str(error))
        _poll_later(ctx, due, retry_policy.backoff(3, random.random()))
    else:
        _dispatch_status(ctx, due, task)


def _task(ctx: Context, due: PollLease) -> Task:
    return ctx.wiro.task(token=due.token, task_id="" if due.token else due.task_id)


def _dispatch_status(ctx: Context, due: PollLease, task: Task) -> None:
    if due.state == ItemState.UNKNOWN:
        _adopt(ctx, due, task)
    elif due.state == ItemState.COLLECTING:
        _copy(ctx, due, task)
    elif not task.ended:
        _still_running(ctx, due, task)
    elif task.succeeded:
        _succeeded(ctx, due, task)
    elif task.cancelled or due.batch_status == BatchState.CANCELLING:
        _cancelled(ctx, due, task)
    else:
        retry_or_fail(ctx, due, ItemState.RUNNING, due.attempts_spent, task.failure_reason)


def _not_found(ctx: Context, due: PollLease, error: TaskNotFound) -> None:
    if due.failed_polls + 1 < retry_policy.MAX_POLL_ATTEMPTS:
        _poll_later(ctx, due, retry_policy.backoff(due.failed_polls + 1, random.random()), counter="looks")
    elif due.state == ItemState.UNKNOWN:
        _poll_later(ctx, due, 0)
    else:
        fail(ctx, due, due.state, f"The vendor does not know the task any more: {error}")


def _poll_later(ctx: Context, due: PollLease, delay_s: float, *, counter: str = "") -> None:
    if ctx.ledger.runs.release(due, delay_s=delay_s, counter=counter):
        ctx.job_queue.enqueue_in("collect", delay_s)


def _adopt(ctx: Context, due: PollLease, task: Task) -> None:
    """A callback says which task the lost run became: it is ours if the vendor says that it rings this bell."""
    expected = ctx.callback_url(due.run)
    if task.callback_url and expected and task.callback_url != expected:
        log.warning("callback_names_another_task", **run_fields(due), task=task.id)
        _poll_later(ctx, due, 0)
    elif ctx.ledger.runs.accept(due.run, due.lease, task.id, task.token, 0):
        log.info("run_adopted", **run_fields(due), task=task.id)
        ctx.job_queue.enqueue_once("collect")


def _still_running(ctx: Context, due: PollLease, task: Task) -> None:
    if due.batch_status == BatchState.CANCELLING:
        _stop_at_vendor(ctx, due, task)
        return
    settings = ctx.settings
    delay = retry_policy.poll_delay(
        due.age_s, expects_callback=settings.public_url is not None, poll_after_s=settings.poll_after_s
    )
    _poll_later(ctx, due, delay)


def _stop_at_vendor(ctx: Context, due: PollLease, task: Task) -> None:
    """Cancel or kill a task, and look again whether it has ended."""
    if due.failed_polls + 1 >= retry_policy.MAX_POLL_ATTEMPTS:
        _end_stopped(ctx, due, "The vendor was asked to end the task and did not say that it has.")
        return
    stop = ctx.wiro.cancel if task.queued else ctx.wiro.kill
    try:
        stop(task.id, task.token)
    except WiroError as error:
        log.warning("stop_refused", **run_fields(due), error=str(error))
    _poll_later(ctx, due, retry_policy.backoff(due.failed_polls + 1, random.random()), counter="looks")


def _cancelled(ctx: Context, due: PollLease, task: Task) -> None:
    if due.batch_status == BatchState.CANCELLING:
        _end_stopped(ctx, due, "Stopped at the vendor.")
    else:
        end(ctx, due, ItemState.RUNNING, ItemState.CANCELLED, {"error": "The task was cancelled at the vendor."})


def _end_stopped(ctx: Context, due: PollLease, how: str) -> None:
    """A run that was stopped because its batch was: cancelled, or failed when it was too late."""
    reason = ctx.ledger.batches.get(due.run.batch).reason or Stop.BY_HAND
    to = ItemState.FAILED if reason == Stop.DEADLINE else ItemState.CANCELLED
    end(ctx, due, ItemState.RUNNING, to, {"error": f"{reason} {how}"})


def _succeeded(ctx: Context, due: PollLease, task: Task) -> None:
    paid = ctx.ledger.runs.record_success(due, task.cost_usd)
    if paid is Paid.NOT_OURS:
        return
    log.info("run_succeeded", **run_fields(due), task=task.id, cost_usd=str(task.cost_usd))
    if paid is Paid.PLACE_WANTED:
        ctx.job_queue.enqueue_once("submit")
    _copy(ctx, due, task)


def _copy(ctx: Context, due: PollLease, task: Task) -> None:
    try:
        outputs = copy_outputs(ctx, plan(due.run.batch).output, due.run.item, task)
    except (CopyFailed, StorageError) as error:
        log.warning("copy_failed", **run_fields(due), error=str(error))
        _copy_later(ctx, due, error)
        return
    outcome = {
        "elapsed_s": None if task.elapsed_s is None else str(task.elapsed_s),
        "outputs": [output_document(output) for output in outputs],
    }
    end(ctx, due, ItemState.COLLECTING, ItemState.SUCCEEDED, outcome)
    if ctx.settings.purge_source:
        _purge(ctx, due, task)


def _copy_later(ctx: Context, due: PollLease, error: CopyFailed | StorageError) -> None:
    if not error.retryable or due.failed_copies + 1 >= retry_policy.MAX_COPY_ATTEMPTS:
        why = f"The run succeeded and is paid, its output could not be copied: {error} `dailies retry` copies it again."
        fail(ctx, due, ItemState.COLLECTING, why)
    else:
        delay = retry_policy.backoff(due.failed_copies + 1, random.random())
        _poll_later(ctx, replace(due, state=ItemState.COLLECTING), delay, counter="copies")


def _purge(ctx: Context, due: PollLease, task: Task) -> None:
    try:
        ctx.wiro.delete_files(task.token)
    except WiroError as error:
        log.warning("purge_failed", **run_fields(due), task=task.id, error=str(error))
