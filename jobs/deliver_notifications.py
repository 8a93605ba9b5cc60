"""The `deliver_notifications` job: sends the webhooks of batches that have ended."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache

import structlog

from jobs.context import Context, context
from pipeline.batches.job_queue import Job
from pipeline.domain.results import results_uri
from pipeline.errors import NoSuchBatch, NotificationFailed
from pipeline.ledger.outbox import Delivery
from pipeline.notifications.sender import RETRY_AFTER_S, NotificationSender

log = structlog.get_logger()

_MAX_CONCURRENT = 8
_TIME_BUDGET_S = 45.0
_LEASE_S = 60.0
_TIMED_OUT = NotificationFailed("The response takes too long.", retryable=False)


def deliver_notifications() -> None:
    """Send every notification that is due. Raise the first one that failed for good, so that RQ shows the failure."""
    ctx = context()
    job_queue = ctx.service.job_queue
    job_queue.clear_pending(Job.DELIVER_NOTIFICATIONS)
    deliveries = ctx.service.ledger.outbox.claim(_MAX_CONCURRENT, lease_s=_LEASE_S)
    futures = [_executor().submit(_deliver, ctx, delivery) for delivery in deliveries.due]
    ended, running = wait(futures, timeout=_TIME_BUDGET_S)
    if running:
        # A receiver may send its response byte by byte. The lease expires, and the next claim counts as an attempt.
        log.warning("notifications_timed_out", number=len(running))
    failures = [failure for future in ended if (failure := _result(future))]
    if deliveries.next_in_s is not None:
        job_queue.enqueue_in(Job.DELIVER_NOTIFICATIONS, deliveries.next_in_s)
    if failures:
        raise failures[0]


def _result(future: Future[NotificationFailed | None]) -> NotificationFailed | None:
    """Return the failure of a notification for good. After any other error its lease expires: it is attempted again."""
    error = future.exception()
    if error is not None:
        log.error("notification_crashed", exc_info=error)
        return None
    return future.result()


def _deliver(ctx: Context, delivery: Delivery) -> NotificationFailed | None:
    """Send one notification. Return the failure if there is no further attempt."""
    if delivery.attempts > len(RETRY_AFTER_S) + 1:
        return _retry_or_fail(ctx, delivery, _TIMED_OUT)
    try:
        row = ctx.service.ledger.batches.get(delivery.batch_id)
        url = ctx.batch_config(delivery.batch_id).notify
        if url is not None and row.finished is not None:
            _sender().send(url, row, results_uri(row))
            log.info("notification_sent", batch=row.id, revision=row.revision, attempts=delivery.attempts)
    except NoSuchBatch:
        log.warning("notification_batch_missing", batch=delivery.batch_id)
    except NotificationFailed as failure:
        return _retry_or_fail(ctx, delivery, failure)
    ctx.service.ledger.outbox.complete(delivery)
    return None


def _retry_or_fail(ctx: Context, delivery: Delivery, failure: NotificationFailed) -> NotificationFailed | None:
    log.warning("notification_failed", batch=delivery.batch_id, attempts=delivery.attempts, error=str(failure))
    outbox = ctx.service.ledger.outbox
    if failure.retryable and delivery.attempts <= len(RETRY_AFTER_S):
        delay_s = RETRY_AFTER_S[delivery.attempts - 1]
        if outbox.reschedule(delivery, delay_s):
            ctx.service.job_queue.enqueue_in(Job.DELIVER_NOTIFICATIONS, delay_s)
        return None
    outbox.complete(delivery)
    message = f"The notification that batch {delivery.batch_id!r} has ended failed {delivery.attempts} times: {failure}"
    return NotificationFailed(message, retryable=False)


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix="notify")


@lru_cache(maxsize=1)
def _sender() -> NotificationSender:
    return NotificationSender(context().service.settings)
