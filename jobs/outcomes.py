"""How an attempt, and an item, comes to its end."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import structlog

from jobs.context import Context, plan
from jobs.leases import Leased
from pipeline.batches.job_queue import Job
from pipeline.domain import retry_policy
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.ledger.records import Returned

log = structlog.get_logger()


def end(ctx: Context, leased: Leased, state: ItemState, to: ItemState, outcome: Mapping[str, Any]) -> None:
    """The item has ended. `outcome` is what became of it: error, elapsed_s, outputs."""
    ended = ctx.ledger.runs.end(leased.run, leased.lease, state, to, outcome)
    if not ended.ours:
        log.warning("item_not_ours", **run_fields(leased), state=to)
        return
    log.info("item_ended", **run_fields(leased), state=to, error=outcome.get("error"))
    note = {"do": "end", "item": leased.run.item, "attempt": leased.run.attempt, "cost_usd": ended.paid}
    ctx.journal.note(plan(leased.run.batch).output, {**note, "outcome": {"status": to, **outcome}})
    if ended.too_many_failures:
        ctx.service.control.stop(leased.run.batch, Stop.FAILURES, [BatchState.RUNNING, BatchState.PAUSED])
    if state in (ItemState.SUBMITTING, ItemState.RUNNING):
        # Its place at the vendor is free.
        ctx.job_queue.enqueue_once(Job.SUBMIT)
    if ended.last:
        ctx.job_queue.enqueue_once(Job.FINISH, leased.run.batch)


def fail(ctx: Context, leased: Leased, state: ItemState, why: str) -> None:
    """The item has failed and is not tried again by itself."""
    end(ctx, leased, state, ItemState.FAILED, {"error": why})


def retry_or_fail(ctx: Context, leased: Leased, state: ItemState, attempts_spent: int, why: str) -> None:
    """An attempt has failed: the item waits for the next one, or has failed when it was the last."""
    if attempts_spent >= plan(leased.run.batch).attempts:
        fail(ctx, leased, state, why)
        return
    log.info("attempt_failed", **run_fields(leased), error=why)
    requeue(ctx, leased, state, retry_policy.backoff(attempts_spent, random.random()), spent=True)


def requeue(ctx: Context, leased: Leased, state: ItemState, delay_s: float, *, spent: bool) -> bool:
    """The item waits `delay_s` for its next attempt; `spent`: this one counts. False when it is not ours."""
    returned = ctx.ledger.runs.requeue(leased.run, leased.lease, state, delay_s=delay_s, spent=spent)
    if returned is not Returned.NOT_OURS and state == ItemState.SUBMITTING:
        note = {"do": "back", "item": leased.run.item, "attempt": leased.run.attempt}
        ctx.journal.note(plan(leased.run.batch).output, note)
    match returned:
        case Returned.WAITS:
            ctx.job_queue.enqueue_in(Job.SUBMIT, delay_s)
        case Returned.MUST_END:
            ctx.service.control.cancel_pending(
                leased.run.batch, ctx.ledger.batches.get(leased.run.batch).reason or Stop.BY_HAND
            )
        case Returned.NOT_OURS:
            log.warning("item_not_ours", **run_fields(leased), state=ItemState.PENDING)
    return returned is not Returned.NOT_OURS


def run_fields(leased: Leased) -> dict[str, object]:
    """The fields that name a run in a log line."""
    return {"batch": leased.run.batch, "item": leased.run.item, "attempt": leased.run.attempt}
