"""`sweep`: the safety net, run by the clock. What no callback and no wake-up has moved is moved by it."""

from __future__ import annotations

import structlog

from jobs.context import Context, context, plan
from pipeline.domain.states import BatchState, Stop
from pipeline.errors import NoSuchBatch

log = structlog.get_logger()


def sweep() -> None:
    """Give up leases that ran out and waits that are over; wake every kind of work that may have been forgotten."""
    ctx = context()
    settings = ctx.settings
    ctx.ledger.expire(adopt_wait_s=settings.adopt_wait_s, on_unknown=settings.on_unknown)
    for batch_id in ctx.ledger.open_batches():
        try:
            _tend(ctx, batch_id)
        except NoSuchBatch:
            log.warning("open_batch_is_gone", batch=batch_id)
    if ctx.ledger.has_notices():
        ctx.waker.wake("deliver_notifications")
    ctx.waker.wake("submit")
    ctx.waker.wake("collect")


def _tend(ctx: Context, batch_id: str) -> None:
    if not ctx.ledger.is_loaded(batch_id):
        ctx.waker.wake("start", batch_id)
        return
    batch = ctx.ledger.batch(batch_id)
    if batch.status == BatchState.CANCELLING:
        ctx.service.settle(batch_id, batch.reason or Stop.BY_HAND)
    elif ctx.ledger.has_ended(batch_id):
        ctx.waker.wake("finish", batch_id)
    elif (deadline := plan(batch_id).deadline_s) and ctx.ledger.age_s(batch_id) > deadline:
        ctx.service.stop(batch_id, Stop.DEADLINE, [BatchState.RUNNING, BatchState.PAUSED])
