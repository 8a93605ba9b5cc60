"""`notify`: those who wanted to know are told that their batch has ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache

import structlog

from jobs.context import Context, context, plan
from pipeline.errors import NoSuchBatch, NotificationFailed
from pipeline.ledger.outbox import Notice
from pipeline.notifications.sender import TRY_AFTER_S, Notifier

log = structlog.get_logger()

_AT_ONCE = 8
_LONGEST_S = 45.0
_LEASE_S = 60.0
_TOO_SLOW = NotificationFailed("It takes too long to answer.", again=False)


def deliver_notifications() -> None:
    """Tell what is to be told now. What was given up is raised, for RQ to keep as a dead letter."""
    ctx = context()
    ctx.waker.begun("deliver_notifications")
    notices = ctx.ledger.claim_notices(_AT_ONCE, lease_s=_LEASE_S)
    told, late = wait([_hands().submit(_tell, ctx, notice) for notice in notices.due], timeout=_LONGEST_S)
    if late:
        # Whoever answers a byte at a time is left to it; the lease runs out and the next try counts.
        log.warning("notifications_too_slow", number=len(late))
    given_up = [failure for future in told if (failure := future.result())]
    if notices.next_in_s is not None:
        ctx.waker.wake_in("deliver_notifications", notices.next_in_s)
    if given_up:
        raise given_up[0]


def _tell(ctx: Context, notice: Notice) -> NotificationFailed | None:
    """Tell one address. Answers why it was given up, if it was."""
    if notice.tries > len(TRY_AFTER_S) + 1:
        return _failed(ctx, notice, _TOO_SLOW)
    try:
        row = ctx.ledger.batch(notice.batch_id)
        url = plan(notice.batch_id).notify
        if url is not None and row.finished is not None:
            _notifier().tell(url, row, ctx.service.results_uri(row))
            log.info("notification_sent", batch=row.id, revision=row.revision, tries=notice.tries)
    except NoSuchBatch:
        log.warning("notification_without_batch", batch=notice.batch_id)
    except NotificationFailed as failure:
        return _failed(ctx, notice, failure)
    ctx.ledger.settle_notice(notice)
    return None


def _failed(ctx: Context, notice: Notice, failure: NotificationFailed) -> NotificationFailed | None:
    log.warning("notification_failed", batch=notice.batch_id, tries=notice.tries, error=str(failure))
    if failure.again and notice.tries <= len(TRY_AFTER_S):
        delay = TRY_AFTER_S[notice.tries - 1]
        if ctx.ledger.put_off_notice(notice, delay):
            ctx.waker.wake_in("deliver_notifications", delay)
        return None
    ctx.ledger.settle_notice(notice)
    why = f"Nobody was told that batch {notice.batch_id!r} has ended, after {notice.tries} tries: {failure}"
    return NotificationFailed(why, again=False)


@lru_cache(maxsize=1)
def _hands() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="notify")


@lru_cache(maxsize=1)
def _notifier() -> Notifier:
    return Notifier(context().settings)
