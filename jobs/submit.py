"""The `submit` job: posts runs for pending items."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import structlog

from jobs.apply_outcome import apply_post
from jobs.context import Context, context
from jobs.leases import run_fields
from jobs.reuse import reuse_leased
from jobs.run_images import run_image
from jobs.run_outcomes import PostOutcome, Requeue, classify_post, classify_unposted, requeue_unposted
from jobs.worker_slots import work
from pipeline.batches.job_queue import Job
from pipeline.domain.states import BatchState, Stop
from pipeline.errors import StorageError
from pipeline.ledger.records import BatchConfig, SubmissionLease
from pipeline.observability import tracing
from pipeline.storage.journal import Entry
from pipeline.wiro.client import ImageField, Run
from pipeline.wiro.errors import WiroError

log = structlog.get_logger()

_MAX_UNPROVEN_RUNS = 3
"""Runs that are posted at a time while it is open whether the account can run: more would only be refused as well."""


def submit() -> None:
    """Post runs for pending items, as many as the concurrency limit, budgets and free slots allow."""
    ctx = context()
    ctx.service.job_queue.clear_pending(Job.SUBMIT)
    submit_pending(ctx)


def submit_pending(ctx: Context) -> None:
    """Post runs as `submit` does, inside another job."""
    if work(lambda limit: _claim(ctx, limit), lambda lease: _submit(ctx, lease), ctx.leases):
        ctx.service.job_queue.enqueue_once(Job.SUBMIT)


def _claim(ctx: Context, limit: int) -> Sequence[SubmissionLease]:
    settings, job_queue = ctx.service.settings, ctx.service.job_queue
    claims = ctx.service.ledger.runs.claim_pending(
        limit,
        lease_s=settings.lease_s,
        max_active=settings.max_active,
        max_unproven=_MAX_UNPROVEN_RUNS,
        max_batch_usd=settings.max_batch_usd,
        max_day_usd=settings.max_day_usd,
    )
    for batch_id in claims.out_of_budget:
        ctx.service.control.stop(batch_id, _spent_limit(ctx, batch_id), [BatchState.RUNNING])
    if len(claims.runs) == limit:
        # More items may be due than this worker has slots: another worker can help.
        job_queue.enqueue_once(Job.SUBMIT)
    elif claims.next_in_s is not None:
        job_queue.enqueue_in(Job.SUBMIT, claims.next_in_s)
    return _record_attempts(ctx, reuse_leased(ctx, claims.runs))


def _spent_limit(ctx: Context, batch_id: str) -> Stop:
    """Return which limit a batch without money has reached: its own budget, or the ceiling of the service."""
    budget = ctx.service.ledger.batches.budget(batch_id)
    return Stop.BUDGET if budget.capped(ctx.service.settings.max_batch_usd) == budget else Stop.CEILING


def _record_attempts(ctx: Context, leases: Sequence[SubmissionLease]) -> Sequence[SubmissionLease]:
    """Write the attempts to Redis's disk and to the journal, before money is spent. Return those that may be posted."""
    by_folder: defaultdict[str, list[SubmissionLease]] = defaultdict(list)
    for lease in ctx.service.ledger.runs.mark_posting(leases):
        by_folder[ctx.batch_config(lease.run.batch).output].append(lease)
    recorded: list[SubmissionLease] = []
    for folder, folder_leases in by_folder.items():
        entries = [_run_entry(lease) for lease in folder_leases]
        try:
            ctx.service.journal.write(folder, entries)
        except StorageError as error:
            log.warning("attempts_not_recorded", folder=folder, runs=len(folder_leases), error=str(error))
            for lease in folder_leases:
                apply_post(ctx, lease, classify_unposted(random.random()))
        else:
            recorded += folder_leases
    return recorded


def _run_entry(lease: SubmissionLease) -> Entry:
    reuse = {"reuse_key": lease.reuse_key} if lease.reuse_key else {}
    return {"do": "run", "item": lease.run.item, "attempt": lease.run.attempt, **reuse}


def _submit(ctx: Context, lease: SubmissionLease) -> None:
    with tracing.step("submit", lease.run):
        if not ctx.leases.is_valid(lease):
            _revert(ctx, lease)
            return
        config = ctx.batch_config(lease.run.batch)
        if ctx.refusals.is_refused(config.model):
            apply_post(ctx, lease, PostOutcome(requeue_unposted(random.random())))
            return
        result = _post(ctx, lease, config)
        outcome = classify_post(lease, result, attempts_allowed=config.attempts, random_share=random.random())
        apply_post(ctx, lease, outcome)


def _revert(ctx: Context, lease: SubmissionLease) -> None:
    """Requeue a run whose lease may have expired before its post: the process was paused, or Redis unavailable."""
    log.warning("lease_expired_before_post", **run_fields(lease))
    if not apply_post(ctx, lease, PostOutcome(Requeue(0))):
        ctx.service.ledger.runs.revert_unposted(lease.run)


def _post(ctx: Context, lease: SubmissionLease, config: BatchConfig) -> Run | WiroError | StorageError:
    prompt = {} if lease.prompt is None else {"prompt": lease.prompt}
    field = ImageField(config.image_field, config.image_kind)
    try:
        return ctx.wiro.run(
            config.model,
            {**config.params, **lease.params, **prompt},
            image=run_image(ctx, lease.run.batch, lease.image, field) if lease.image else None,
            callback_url=ctx.callback_url(lease.run),
        )
    except WiroError as error:
        log.warning("run_not_accepted", **run_fields(lease), error=str(error), kind=type(error).__name__)
        return error
    except StorageError as error:
        return error
