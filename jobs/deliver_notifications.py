"""`notify`: those who wanted to know are told that their batch has ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache

import structlog

from jobs.context import Context, context, plan
from pipeline.domain.results import results_uri
from pipeline.errors import NoSuchBatch, NotificationFailed
from pipeline.ledger.outbox import Delivery
from pipeline.notifications.sender import RETRY_AFTER_S, NotificationSender

log = structlog.get_logger()

_MAX_CONCURRENT = 8
_MAX_S = 45.0
_LEASE_S = 60.0
_TOO_SLOW = NotificationFailed("It takes too long to answer.", retryable=False)


def deliver_notifications() -> None:
    """Tell what is to be told now. What was given up is raised, for RQ to keep as a dead letter."""
    ctx = context()
    ctx.job_queue.clear_pending("deliver_notifications")
    deliveries = ctx.ledger.outbox.claim(_MAX_CONCURRENT, lease_s=_LEASE_S)
    told, late = wait([_executor().submit(_deliver, ctx, delivery) for delivery in deliveries.due], timeout=_MAX_S)
    if late:
        # Whoever answers a byte at a time is left to it; the lease runs out and the next try counts.
        log.warning("notifications_too_slow", number=len(late))
    given_up = [failure for future in told if (failure := future.result())]
    if deliveries.next_in_s is not None:
        ctx.job_queue.enqueue_in("deliver_notifications", deliveries.next_in_s)
    if given_up:
        raise given_up[0]


def _deliver(ctx: Context, delivery: Delivery) -> NotificationFailed | None:
    """Tell one address. Answers why it was given up, if it was."""
    if delivery.tries > len(RETRY_AFTER_S) + 1:
        return _failed(ctx, delivery, _TOO_SLOW)
    try:
        row = ctx.ledger.batches.get(delivery.batch_id)
        url = plan(delivery.batch_id).notify
        if url is not None and row.finished is not None:
            _sender().send(url, row, results_uri(row))
            log.info("notification_sent", batch=row.id, revision=row.revision, tries=delivery.tries)
    except NoSuchBatch:
        log.warning("notification_without_batch", batch=delivery.batch_id)
    except NotificationFailed as failure:
        return _failed(ctx, delivery, failure)
    ctx.ledger.outbox.complete(delivery)
    return None


def _failed(ctx: Context, delivery: Delivery, failure: NotificationFailed) -> NotificationFailed | None:
    log.warning("notification_failed", batch=delivery.batch_id, tries=delivery.tries, error=str(failure))
    if failure.retryable and delivery.tries <= len(RETRY_AFTER_S):
        delay = RETRY_AFTER_S[delivery.tries - 1]
        if ctx.ledger.outbox.reschedule(delivery, delay):
            ctx.job_queue.enqueue_in("deliver_notifications", delay)
        return None
    ctx.ledger.outbox.complete(delivery)
    why = f"Nobody was told that batch {delivery.batch_id!r} has ended, after {delivery.tries} tries: {failure}"
    return NotificationFailed(why, retryable=False)


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix="notify")


@lru_cache(maxsize=1)
def _sender() -> NotificationSender:
    return NotificationSender(context().settings)
