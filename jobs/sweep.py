"""The `sweep` job: runs periodically and continues all work that no callback and no other job continues."""

from __future__ import annotations

import structlog

from jobs.context import Context, context
from pipeline.batches.job_queue import Job
from pipeline.domain.states import BatchState, Stop
from pipeline.errors import NoSuchBatch, Unreachable
from pipeline.ledger.keys import OPEN_BATCHES

log = structlog.get_logger()

SUBMISSION_WAIT_S = 86_400.0
"""How long an interrupted submission may be completed, from the last attempt on: longer than any retry of ours."""


def sweep() -> None:
    """Expire leases and waits that are over, check every open batch and enqueue each kind of work that may be due."""
    ctx = context()
    service, settings = ctx.service, ctx.service.settings
    service.ledger.runs.expire_leases(adopt_wait_s=settings.adopt_wait_s, on_unknown=settings.on_unknown)
    for batch_id in service.ledger.batches.open_ids():
        try:
            _sweep_batch(ctx, batch_id)
        except NoSuchBatch:
            log.warning("open_batch_missing", batch=batch_id)
            service.ledger.set_aside.add(OPEN_BATCHES, batch_id, "Redis has no record of this batch.")
        except Unreachable:
            raise
        except Exception:
            # The other batches go on.
            log.exception("batch_not_swept", batch=batch_id)
    if service.ledger.outbox.has_pending():
        service.job_queue.enqueue_once(Job.DELIVER_NOTIFICATIONS)
    if service.ledger.lost_runs.has_due():
        service.job_queue.enqueue_once(Job.FIND_LOST_RUNS)
    if service.ledger.previews.has_due():
        service.job_queue.enqueue_previews()
    service.job_queue.enqueue_once(Job.ARCHIVE_BATCHES)
    service.job_queue.enqueue_once(Job.SUBMIT)
    service.job_queue.enqueue_once(Job.COLLECT)


def _sweep_batch(ctx: Context, batch_id: str) -> None:
    batches, control, job_queue = ctx.service.ledger.batches, ctx.service.control, ctx.service.job_queue
    submission = batches.submission(batch_id)
    if submission is None:
        raise NoSuchBatch(batch_id)
    if not submission.is_accepted:
        # Its submitter can continue it until then.
        if control.cancel_submission(batch_id, Stop.SUBMISSION, min_age_s=SUBMISSION_WAIT_S):
            log.warning("submission_cancelled", batch=batch_id)
        return
    if not batches.is_loaded(batch_id):
        job_queue.enqueue_once(Job.START, batch_id)
        return
    batch = batches.get(batch_id)
    if batch.status == BatchState.CANCELLING:
        control.cancel_pending(batch_id, batch.reason or Stop.BY_HAND)
    elif batches.has_ended(batch_id):
        job_queue.enqueue_once(Job.FINISH, batch_id)
    elif (deadline_s := ctx.batch_config(batch_id).deadline_s) and batches.open_for_s(batch_id) > deadline_s:
        control.stop(batch_id, Stop.DEADLINE, [BatchState.RUNNING, BatchState.PAUSED])
