"""How an attempt, and an item, comes to its end."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import structlog

from jobs.context import Context, plan
from jobs.leases import Held
from pipeline.domain import retry_policy
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.ledger.records import Returned

log = structlog.get_logger()


def end(ctx: Context, held: Held, state: ItemState, to: ItemState, outcome: Mapping[str, Any]) -> None:
    """The item has ended. `outcome` is what became of it: error, elapsed_s, outputs."""
    ended = ctx.ledger.end_item(held.run, held.lease, state, to, outcome)
    if not ended.ours:
        log.warning("item_not_ours", **names(held), state=to)
        return
    log.info("item_ended", **names(held), state=to, error=outcome.get("error"))
    note = {"do": "end", "item": held.run.item, "attempt": held.run.attempt, "cost_usd": ended.paid}
    ctx.journal.note(plan(held.run.batch).output, {**note, "outcome": {"status": to, **outcome}})
    if ended.too_many_failures:
        ctx.service.stop(held.run.batch, Stop.FAILURES, [BatchState.RUNNING, BatchState.PAUSED])
    if state in (ItemState.SUBMITTING, ItemState.RUNNING):
        # Its place at the vendor is free.
        ctx.waker.wake("submit")
    if ended.last:
        ctx.waker.wake("finish", held.run.batch)


def fail(ctx: Context, held: Held, state: ItemState, why: str) -> None:
    """The item has failed and is not tried again by itself."""
    end(ctx, held, state, ItemState.FAILED, {"error": why})


def try_again(ctx: Context, held: Held, state: ItemState, tries: int, why: str) -> None:
    """An attempt has failed: the item waits for the next one, or has failed when it was the last."""
    if tries >= plan(held.run.batch).attempts:
        fail(ctx, held, state, why)
        return
    log.info("attempt_failed", **names(held), error=why)
    put_back(ctx, held, state, retry_policy.backoff(tries, random.random()), spent=True)


def put_back(ctx: Context, held: Held, state: ItemState, delay_s: float, *, spent: bool) -> bool:
    """The item waits `delay_s` for its next attempt; `spent`: this one counts. False when it is not ours."""
    returned = ctx.ledger.return_run(held.run, held.lease, state, delay_s=delay_s, spent=spent)
    if returned is not Returned.NOT_OURS and state == ItemState.SUBMITTING:
        note = {"do": "back", "item": held.run.item, "attempt": held.run.attempt}
        ctx.journal.note(plan(held.run.batch).output, note)
    match returned:
        case Returned.WAITS:
            ctx.waker.wake_in("submit", delay_s)
        case Returned.MUST_END:
            ctx.service.settle(held.run.batch, ctx.ledger.batch(held.run.batch).reason or Stop.BY_HAND)
        case Returned.NOT_OURS:
            log.warning("item_not_ours", **names(held), state=ItemState.PENDING)
    return returned is not Returned.NOT_OURS


def names(held: Held) -> dict[str, object]:
    """The fields that name a run in a log line."""
    return {"batch": held.run.batch, "item": held.run.item, "attempt": held.run.attempt}
