"""`submit`: pending items become runs at the vendor."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import assert_never

import structlog

from jobs.context import Context, context
from jobs.crew import work
from jobs.ends import end, try_again
from jobs.inputs import stored_image
from pipeline import policy
from pipeline.errors import StorageError
from pipeline.ledger_rows import Claim, Plan
from pipeline.states import BatchState, ItemState
from pipeline.wiro import FileSource, Run
from pipeline.wiro_errors import (
    AnswerLost,
    InsufficientBalance,
    InvalidRun,
    NoSuchEndpoint,
    NotAuthorized,
    NotSent,
    RateLimited,
    TaskNotFound,
    TooManyTasks,
    VendorFault,
    WiroError,
)

log = structlog.get_logger()


def submit() -> None:
    """Post runs for pending items, as many at once as window, budgets and hands allow."""
    ctx = context()
    ctx.waker.begun("submit")
    if work(lambda most: _claim(ctx, most), lambda claim: _submit_one(ctx, claim)):
        ctx.waker.wake("submit")


def _claim(ctx: Context, most: int) -> Sequence[Claim]:
    settings = ctx.settings
    claims = ctx.ledger.claim_runs(most, lease_s=settings.lease_s, max_active=settings.max_active)
    for batch_id in claims.out_of_budget:
        ctx.service.stop(batch_id, "The budget is spent.", [BatchState.RUNNING])
    if len(claims.runs) == most:
        # There may be more than these hands can do: another worker may help.
        ctx.waker.wake("submit")
    elif claims.next_due:
        ctx.waker.wake_at("submit", claims.next_due)
    return claims.runs


def _submit_one(ctx: Context, claim: Claim) -> None:
    plan = ctx.plan(claim.run.batch)
    try:
        run = _post(ctx, claim, plan)
    except WiroError as error:
        _refused(ctx, claim, plan, error)
    except StorageError as error:
        if error.retryable:
            try_again(ctx, claim, ItemState.SUBMITTING, str(error), plan.attempts, claim.tries)
        else:
            end(ctx, claim, ItemState.SUBMITTING, ItemState.FAILED, error=str(error), attempts=claim.tries)
    else:
        _accepted(ctx, claim, run)


def _post(ctx: Context, claim: Claim, plan: Plan) -> Run:
    image_url, image_file = _image(ctx, claim)
    prompt = {} if claim.prompt is None else {"prompt": claim.prompt}
    return ctx.wiro.run(
        plan.model,
        {**plan.params, **claim.params, **prompt},
        image_field=plan.image_field if claim.image else None,
        image_url=image_url,
        image_file=image_file,
        callback_url=ctx.callback_url(claim.run),
    )


def _image(ctx: Context, claim: Claim) -> tuple[str | None, FileSource | None]:
    image = claim.image
    if image is None or not image.startswith("s3://"):
        return image, None
    url = ctx.ledger.uploads(claim.run.batch).get(image)
    return (url, None) if url else (None, stored_image(ctx.storage, image))


def _accepted(ctx: Context, claim: Claim, run: Run) -> None:
    settings = ctx.settings
    wait = policy.poll_delay(0, expects_callback=settings.public_url is not None, poll_after_s=settings.poll_after_s)
    if not ctx.ledger.accept_run(claim.run, claim.lease, run.task_id, run.token, wait):
        log.warning("run_not_ours", **_fields(claim), task=run.task_id)
        return
    ctx.ledger.all_well()
    ctx.waker.wake_look(wait)
    log.info("run_submitted", **_fields(claim), task=run.task_id)


def _refused(ctx: Context, claim: Claim, plan: Plan, error: WiroError) -> None:
    log.warning("run_refused", **_fields(claim), error=str(error), kind=type(error).__name__)
    match error:
        case AnswerLost():
            ctx.ledger.lose_run(claim.run, claim.lease, adopt_wait_s=ctx.settings.adopt_wait_s)
        case TooManyTasks():
            ctx.ledger.shrink_window(error.allowed)
            _turned_away(ctx, claim, str(error))
        case RateLimited() | NotSent():
            first_s = getattr(error, "retry_after_s", None) or 1.0
            ctx.ledger.back_off(first_s=first_s, longest_s=max(first_s, policy.LONGEST_BACKOFF_S), reason=str(error))
            _turned_away(ctx, claim, str(error))
        case InsufficientBalance() | NotAuthorized() | NoSuchEndpoint():
            ctx.ledger.pause_account(str(error))
            _turned_away(ctx, claim, str(error))
        case VendorFault():
            ctx.ledger.back_off(first_s=1.0, longest_s=policy.LONGEST_BACKOFF_S, reason=str(error))
            try_again(ctx, claim, ItemState.SUBMITTING, str(error), plan.attempts, claim.tries)
        case InvalidRun() | TaskNotFound() | WiroError():
            end(ctx, claim, ItemState.SUBMITTING, ItemState.FAILED, error=str(error), attempts=claim.tries)
        case _:
            assert_never(error)


def _turned_away(ctx: Context, claim: Claim, why: str) -> None:
    """The vendor would not take the run just now: no attempt is spent."""
    if claim.refusals >= policy.MOST_REFUSALS:
        end(ctx, claim, ItemState.SUBMITTING, ItemState.FAILED, error=why, attempts=claim.tries)
        return
    delay = policy.backoff(1, random.random())
    ctx.ledger.return_run(claim.run, claim.lease, ItemState.SUBMITTING, delay_s=delay, spent=False)


def _fields(claim: Claim) -> dict[str, object]:
    return {"batch": claim.run.batch, "item": claim.run.item, "attempt": claim.run.attempt}
