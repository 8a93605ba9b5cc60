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
from jobs.run_outcomes import (
    Accept,
    MarkUnknown,
    PostOutcome,
    Requeue,
    classify_post,
    classify_unposted,
    requeue_unposted,
)
from jobs.unposted_runs import give_back, retry_give_back
from jobs.worker_slots import enqueue_next, work
from pipeline.batches.job_queue import Job
from pipeline.domain.states import BatchState, Stop
from pipeline.errors import StorageError, Unreachable
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
    settings = ctx.service.settings
    retry_give_back(ctx)
    claims = ctx.service.ledger.runs.claim_pending(
        limit,
        lease_s=settings.lease_s,
        max_active=settings.max_active,
        max_unproven=_MAX_UNPROVEN_RUNS,
        max_batch_usd=settings.max_batch_usd,
        max_day_usd=settings.max_day_usd,
    )
    try:
        for batch_id in claims.out_of_budget:
            _stop_spent(ctx, batch_id)
        enqueue_next(ctx.service.job_queue, Job.SUBMIT, claims, limit)
        return _record_attempts(ctx, reuse_leased(ctx, claims.runs))
    except Exception as error:
        for lease in claims.runs:
            _give_back(ctx, lease, error)
        raise


def _stop_spent(ctx: Context, batch_id: str) -> None:
    """Stop a batch without money. A failure must not stop the other batches: the next claim names the batch again."""
    try:
        ctx.service.control.stop(batch_id, _spent_limit(ctx, batch_id), [BatchState.RUNNING])
    except Unreachable:
        raise
    except Exception:
        log.exception("batch_not_stopped", batch=batch_id)


def _spent_limit(ctx: Context, batch_id: str) -> Stop:
    """Return which limit a batch without money has reached: its own budget, or the ceiling of the service."""
    budget = ctx.service.ledger.batches.budget(batch_id)
    return Stop.BUDGET if budget.capped(ctx.service.settings.max_batch_usd) == budget else Stop.CEILING


def _record_attempts(ctx: Context, leases: Sequence[SubmissionLease]) -> Sequence[SubmissionLease]:
    """Write the attempts to Redis's disk and to the journal, before money is spent. Return those that may be posted."""
    by_folder: defaultdict[str, list[SubmissionLease]] = defaultdict(list)
    readable = []
    for lease in leases:
        try:
            ctx.batch_config(lease.run.batch)
        except Exception as error:
            _give_back(ctx, lease, error)
        else:
            readable.append(lease)
    for lease in ctx.service.ledger.runs.mark_posting(readable):
        by_folder[ctx.batch_config(lease.run.batch).output].append(lease)
    return [lease for folder, found in by_folder.items() for lease in _write_journal(ctx, folder, found)]


def _write_journal(ctx: Context, folder: str, leases: list[SubmissionLease]) -> list[SubmissionLease]:
    """Write the attempts of a batch to its journal. Return them, or none if that failed."""
    entries = [_run_entry(lease) for lease in leases]
    try:
        ctx.service.journal.write(folder, entries)
    except Exception as error:
        log.warning("attempts_not_recorded", folder=folder, runs=len(leases), error=str(error))
        for lease in leases:
            _give_back(ctx, lease, error)
        return []
    return leases


def _run_entry(lease: SubmissionLease) -> Entry:
    reuse = {"reuse_key": lease.reuse_key} if lease.reuse_key else {}
    return {"do": "run", "item": lease.run.item, "attempt": lease.run.attempt, **reuse}


def _submit(ctx: Context, lease: SubmissionLease) -> None:
    with tracing.step("submit", lease.run):
        try:
            if not ctx.leases.is_valid(lease):
                # The process was paused, or Redis unavailable.
                log.warning("lease_expired_before_post", **run_fields(lease))
                give_back(ctx, lease, PostOutcome(Requeue(0)))
                return
            config = ctx.batch_config(lease.run.batch)
            if ctx.refusals.is_refused(config.model):
                give_back(ctx, lease, PostOutcome(requeue_unposted(random.random())))
                return
            result = _post(ctx, lease, config)
        except Exception as error:
            log.exception("run_not_posted", **run_fields(lease))
            _give_back(ctx, lease, error)
            return
        outcome = classify_post(lease, result, attempts_allowed=config.attempts, random_share=random.random())
        _apply(ctx, lease, outcome)


def _apply(ctx: Context, lease: SubmissionLease, outcome: PostOutcome) -> None:
    """Apply the outcome of a post. What fails here never makes a run be posted again that the vendor may have."""
    try:
        apply_post(ctx, lease, outcome)
    except Exception:
        log.exception("outcome_not_recorded", **run_fields(lease))
        if not isinstance(outcome.transition, Accept | MarkUnknown):
            give_back(ctx, lease, outcome)
            return
        adopt_wait_s = ctx.service.settings.adopt_wait_s
        runs = ctx.service.ledger.runs
        runs.mark_unknown(lease.run, lease.lease, adopt_wait_s=adopt_wait_s)
        if isinstance(outcome.transition, Accept):
            runs.record_callback(lease.run, outcome.transition.task_id, outcome.transition.token, found_by=None)
            ctx.service.job_queue.enqueue_once(Job.COLLECT)


def _give_back(ctx: Context, lease: SubmissionLease, error: Exception) -> None:
    """Give back a run that was not posted because of `error`."""
    give_back(ctx, lease, classify_unposted(lease, error, random_share=random.random()))


def _post(ctx: Context, lease: SubmissionLease, config: BatchConfig) -> Run | WiroError | StorageError:
    """Post a run. Any other exception than ResponseLost means that the vendor did not accept it."""
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
