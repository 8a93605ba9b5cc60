"""`sweep`: the safety net, run by the clock. What no callback and no wake-up has moved is moved by it."""

from __future__ import annotations

import structlog

from jobs.context import Context, context, plan
from pipeline.batches.job_queue import Job
from pipeline.domain.states import BatchState, Stop
from pipeline.errors import NoSuchBatch

log = structlog.get_logger()


def sweep() -> None:
    """Give up leases that ran out and waits that are over; wake every kind of work that may have been forgotten."""
    ctx = context()
    settings = ctx.settings
    ctx.ledger.runs.expire_leases(adopt_wait_s=settings.adopt_wait_s, on_unknown=settings.on_unknown)
    for batch_id in ctx.ledger.batches.open_ids():
        try:
            _sweep_batch(ctx, batch_id)
        except NoSuchBatch:
            log.warning("open_batch_is_gone", batch=batch_id)
    if ctx.ledger.outbox.has_pending():
        ctx.job_queue.enqueue_once(Job.DELIVER_NOTIFICATIONS)
    ctx.job_queue.enqueue_once(Job.SUBMIT)
    ctx.job_queue.enqueue_once(Job.COLLECT)


def _sweep_batch(ctx: Context, batch_id: str) -> None:
    if not ctx.ledger.batches.is_loaded(batch_id):
        ctx.job_queue.enqueue_once(Job.START, batch_id)
        return
    batch = ctx.ledger.batches.get(batch_id)
    if batch.status == BatchState.CANCELLING:
        ctx.service.control.cancel_pending(batch_id, batch.reason or Stop.BY_HAND)
    elif ctx.ledger.batches.has_ended(batch_id):
        ctx.job_queue.enqueue_once(Job.FINISH, batch_id)
    elif (deadline := plan(batch_id).deadline_s) and ctx.ledger.batches.age_s(batch_id) > deadline:
        ctx.service.control.stop(batch_id, Stop.DEADLINE, [BatchState.RUNNING, BatchState.PAUSED])
