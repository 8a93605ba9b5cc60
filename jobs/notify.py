"""`notify`: those who wanted to know are told that their batch has ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import structlog

from jobs.context import Context, context, plan
from pipeline.errors import NoSuchBatch, NotificationFailed
from pipeline.ledger_notices import Notice
from pipeline.notify import TRY_AFTER_S, Notifier

log = structlog.get_logger()

_AT_ONCE = 8
_LEASE_S = 60.0
"""Longer than telling may take."""


def notify() -> None:
    """Tell what is to be told now. What was given up is raised, for RQ to keep as a dead letter."""
    ctx = context()
    ctx.waker.begun("notify")
    notices = ctx.ledger.claim_notices(_AT_ONCE, lease_s=_LEASE_S)
    with ThreadPoolExecutor(_AT_ONCE) as hands:
        given_up = [failure for failure in hands.map(lambda notice: _tell(ctx, notice), notices.due) if failure]
    if notices.next_in_s is not None:
        ctx.waker.wake_in("notify", notices.next_in_s)
    if given_up:
        raise given_up[0]


def _tell(ctx: Context, notice: Notice) -> NotificationFailed | None:
    """Tell one address. Answers why it was given up, if it was."""
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
            ctx.waker.wake_in("notify", delay)
        return None
    ctx.ledger.settle_notice(notice)
    why = f"Nobody was told that batch {notice.batch_id!r} has ended, after {notice.tries} tries: {failure}"
    return NotificationFailed(why, again=False)


@lru_cache(maxsize=1)
def _notifier() -> Notifier:
    return Notifier(context().settings)
