"""States of items and batches, and the legal transitions between them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ItemState(StrEnum):
    """Where one item is on its way from manifest to outputs."""

    PENDING = "pending"
    """waits for a place in the window, or for its next attempt"""
    SUBMITTING = "submitting"
    """claimed by a worker that is about to post, or has posted, its run"""
    RUNNING = "running"
    """the vendor has taken the run; its task token is on the ledger"""
    COLLECTING = "collecting"
    """the run succeeded and is paid; its outputs are being copied"""
    SUCCEEDED = "succeeded"
    """its outputs are on S3"""
    FAILED = "failed"
    """it will not be tried again unless a person asks"""
    CANCELLED = "cancelled"
    """a person or a limit stopped it"""
    UNKNOWN = "unknown"
    """the answer to its run was lost: the vendor may or may not have taken it"""


class BatchState(StrEnum):
    """Where a batch is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({ItemState.SUCCEEDED, ItemState.FAILED, ItemState.CANCELLED, ItemState.UNKNOWN})
"""States in which an item counts as ended. `unknown` does so only once its wait for a callback is over."""

BATCH_TERMINAL = frozenset({BatchState.SUCCEEDED, BatchState.PARTIAL, BatchState.FAILED, BatchState.CANCELLED})

TRANSITIONS: dict[ItemState, frozenset[ItemState]] = {
    ItemState.PENDING: frozenset({ItemState.SUBMITTING, ItemState.CANCELLED}),
    ItemState.SUBMITTING: frozenset(
        {ItemState.PENDING, ItemState.RUNNING, ItemState.UNKNOWN, ItemState.FAILED, ItemState.CANCELLED}
    ),
    ItemState.RUNNING: frozenset({ItemState.PENDING, ItemState.COLLECTING, ItemState.FAILED, ItemState.CANCELLED}),
    ItemState.COLLECTING: frozenset({ItemState.SUCCEEDED, ItemState.FAILED}),
    ItemState.UNKNOWN: frozenset({ItemState.RUNNING, ItemState.PENDING, ItemState.CANCELLED}),
    ItemState.FAILED: frozenset({ItemState.PENDING, ItemState.COLLECTING}),
    ItemState.CANCELLED: frozenset({ItemState.PENDING, ItemState.RUNNING}),
    ItemState.SUCCEEDED: frozenset(),
}
"""state → the states it may change to. The ledger refuses everything else."""


class Stop(StrEnum):
    """Why a batch was stopped before its end, in words for people."""

    BY_HAND = "Cancelled by hand."
    FAILURES = "Stopped: more items failed than limits.tolerated_failures allows."
    BUDGET = "Stopped: limits.budget_usd is spent."
    DEADLINE = "Stopped: limits.deadline has passed."


def batch_outcome(counts: Mapping[str, int], stopped: str | None) -> BatchState:
    """What a batch is called once every item has ended.

    `counts` is {item state: number of items}; `stopped` is the Stop that ended it early, if one did.
    """
    if stopped == Stop.BY_HAND:
        return BatchState.CANCELLED
    if stopped == Stop.FAILURES:
        return BatchState.FAILED
    total = sum(counts.values())
    succeeded = counts.get(ItemState.SUCCEEDED, 0)
    if succeeded == total:
        return BatchState.SUCCEEDED
    return BatchState.PARTIAL if succeeded else BatchState.FAILED
