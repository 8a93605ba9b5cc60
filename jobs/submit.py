"""`submit`: pending items become runs at the vendor."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import structlog

from jobs.concurrency import work
from jobs.context import Context, context, plan
from jobs.input_files import stored_image
from jobs.outcomes import fail, requeue, retry_or_fail, run_fields
from pipeline.domain import retry_policy
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.errors import StorageError
from pipeline.ledger.records import SubmissionLease
from pipeline.observability import tracing
from pipeline.wiro.client import FileSource, Run
from pipeline.wiro.errors import (
    InsufficientBalance,
    NotAuthorized,
    NotSent,
    RateLimited,
    ResponseLost,
    TooManyTasks,
    VendorFault,
    WiroError,
)

log = structlog.get_logger()


def submit() -> None:
    """Post runs for pending items, as many at once as window, budgets and hands allow."""
    ctx = context()
    ctx.job_queue.clear_pending("submit")
    submit_due(ctx)


def submit_due(ctx: Context) -> None:
    """What `submit` does."""
    if work(lambda limit: _claim(ctx, limit), lambda claim: _submit_one(ctx, claim), ctx.leases):
        ctx.job_queue.enqueue_once("submit")


def _claim(ctx: Context, limit: int) -> Sequence[SubmissionLease]:
    settings = ctx.settings
    claims = ctx.ledger.runs.claim_pending(limit, lease_s=settings.lease_s, max_active=settings.max_active)
    for batch_id in claims.out_of_budget:
        ctx.service.control.stop(batch_id, Stop.BUDGET, [BatchState.RUNNING])
    if len(claims.runs) == limit:
        # There may be more than these hands can do: another worker may help.
        ctx.job_queue.enqueue_once("submit")
    elif claims.next_in_s is not None:
        ctx.job_queue.enqueue_in("submit", claims.next_in_s)
    return _record_attempts(ctx, claims.runs)


def _record_attempts(ctx: Context, runs: Sequence[SubmissionLease]) -> Sequence[SubmissionLease]:
    """Before money is spent: the attempts are on Redis's disk and in the journal. Where that fails none is posted."""
    ours = ctx.ledger.runs.mark_posting(runs)
    folders: defaultdict[str, list[SubmissionLease]] = defaultdict(list)
    for claim in ours:
        folders[plan(claim.run.batch).output].append(claim)
    written: list[SubmissionLease] = []
    for folder, claims in folders.items():
        try:
            ctx.journal.write(folder, [_intent(claim) for claim in claims])
            written += claims
        except StorageError as error:
            log.warning("attempts_not_written_down", folder=folder, runs=len(claims), error=str(error))
            for claim in claims:
                requeue(ctx, claim, ItemState.SUBMITTING, retry_policy.backoff(3, random.random()), spent=False)
    return written


def _intent(claim: SubmissionLease) -> dict[str, object]:
    return {"do": "run", "item": claim.run.item, "attempt": claim.run.attempt}


def _submit_one(ctx: Context, claim: SubmissionLease) -> None:
    with tracing.step("submit", claim.run):
        _submit(ctx, claim)


def _submit(ctx: Context, claim: SubmissionLease) -> None:
    if not ctx.leases.is_ours(claim):
        # This process was paused, or Redis away, for about as long as the lease.
        log.warning("not_posted_in_time", **run_fields(claim))
        if not requeue(ctx, claim, ItemState.SUBMITTING, 0, spent=False):
            ctx.ledger.runs.revert_unposted(claim.run)
        return
    try:
        run = _post(ctx, claim)
    except WiroError as error:
        log.warning("run_refused", **run_fields(claim), error=str(error), kind=type(error).__name__)
        _refused(ctx, claim, error)
    except StorageError as error:
        if error.retryable:
            retry_or_fail(ctx, claim, ItemState.SUBMITTING, claim.attempts_spent, str(error))
        else:
            fail(ctx, claim, ItemState.SUBMITTING, str(error))
    else:
        _accepted(ctx, claim, run)


def _post(ctx: Context, claim: SubmissionLease) -> Run:
    shared = plan(claim.run.batch)
    image_url, image_file = _image(ctx, claim)
    prompt = {} if claim.prompt is None else {"prompt": claim.prompt}
    return ctx.wiro.run(
        shared.model,
        {**shared.params, **claim.params, **prompt},
        image_field=shared.image_field if claim.image else None,
        image_url=image_url,
        image_file=image_file,
        callback_url=ctx.callback_url(claim.run),
    )


def _image(ctx: Context, claim: SubmissionLease) -> tuple[str | None, FileSource | None]:
    image = claim.image
    if image is None or not image.startswith("s3://"):
        return image, None
    url = ctx.ledger.shared_images.url(claim.run.batch, image)
    return (url, None) if url else (None, stored_image(ctx.storage, image))


def _accepted(ctx: Context, claim: SubmissionLease, run: Run) -> None:
    settings = ctx.settings
    wait = retry_policy.poll_delay(
        0, expects_callback=settings.public_url is not None, poll_after_s=settings.poll_after_s
    )
    log.info("run_submitted", **run_fields(claim), task=run.task_id)
    ctx.journal.note(
        plan(claim.run.batch).output, {**_intent(claim), "do": "task", "task": run.task_id, "token": run.token}
    )
    if ctx.ledger.runs.accept(claim.run, claim.lease, run.task_id, run.token, wait):
        ctx.job_queue.enqueue_in("collect", wait)
    elif ctx.ledger.runs.record_callback(claim.run, run.task_id, run.token):
        # The lease ran out while the vendor was thinking: what it answered is a hint like a callback's.
        ctx.job_queue.enqueue_once("collect")


def _refused(ctx: Context, claim: SubmissionLease, error: WiroError) -> None:
    match error:
        case ResponseLost():
            ctx.ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=ctx.settings.adopt_wait_s)
        case TooManyTasks():
            # Its end is the end of a run of ours, or the batch's deadline: it never fails an item.
            ctx.ledger.account.limit_concurrency(error.allowed)
            requeue(ctx, claim, ItemState.SUBMITTING, _place_wait_s(claim), spent=False)
        case RateLimited():
            _back_off(ctx, error, error.retry_after_s or 1.0)
            _requeue_refused(ctx, claim, error)
        case NotSent():
            _back_off(ctx, error, 1.0)
            _requeue_refused(ctx, claim, error)
        case InsufficientBalance() | NotAuthorized():
            ctx.ledger.account.pause(str(error), probe_after_s=ctx.settings.sweep_every_s)
            _requeue_refused(ctx, claim, error)
        case VendorFault():
            _back_off(ctx, error, 1.0)
            retry_or_fail(ctx, claim, ItemState.SUBMITTING, claim.attempts_spent, str(error))
        case _:
            fail(ctx, claim, ItemState.SUBMITTING, str(error))


def _place_wait_s(claim: SubmissionLease) -> float:
    return min(retry_policy.backoff(claim.refusals + 1, random.random(), first_s=0.5), retry_policy.MAX_SLOT_WAIT_S)


def _back_off(ctx: Context, error: WiroError, first_s: float) -> None:
    ctx.ledger.account.back_off(first_s=first_s, longest_s=max(first_s, retry_policy.MAX_BACKOFF_S), reason=str(error))


def _requeue_refused(ctx: Context, claim: SubmissionLease, error: WiroError) -> None:
    """The vendor would not take the run just now: no attempt is spent."""
    if claim.refusals >= retry_policy.MAX_REFUSALS:
        fail(ctx, claim, ItemState.SUBMITTING, str(error))
    else:
        requeue(
            ctx, claim, ItemState.SUBMITTING, retry_policy.backoff(claim.refusals + 1, random.random()), spent=False
        )
