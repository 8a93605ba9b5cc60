"""States of items and batches, and the allowed transitions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ItemState(StrEnum):
    """State of an item."""

    PENDING = "pending"
    """waits for a free slot, or for its next attempt"""
    SUBMITTING = "submitting"
    """leased by a worker that posts its run"""
    RUNNING = "running"
    """the vendor accepted the run; the ledger has its task token"""
    COLLECTING = "collecting"
    """the outputs are copied to S3: the run succeeded and is paid, or an earlier one is reused"""
    SUCCEEDED = "succeeded"
    """all outputs are on S3"""
    FAILED = "failed"
    """no attempt is left; only `retry` starts another one"""
    CANCELLED = "cancelled"
    """stopped by a person or a limit"""
    UNKNOWN = "unknown"
    """the response to its run was lost: the vendor may or may not have accepted the run"""


class BatchState(StrEnum):
    """State of a batch."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({ItemState.SUCCEEDED, ItemState.FAILED, ItemState.CANCELLED, ItemState.UNKNOWN})
"""States in which an item has ended. `unknown` counts only after the adoption wait."""

BATCH_TERMINAL = frozenset({BatchState.SUCCEEDED, BatchState.PARTIAL, BatchState.FAILED, BatchState.CANCELLED})

TRANSITIONS: dict[ItemState, frozenset[ItemState]] = {
    ItemState.PENDING: frozenset({ItemState.SUBMITTING, ItemState.COLLECTING, ItemState.CANCELLED}),
    ItemState.SUBMITTING: frozenset(
        {
            *(ItemState.PENDING, ItemState.RUNNING, ItemState.COLLECTING, ItemState.UNKNOWN),
            *(ItemState.FAILED, ItemState.CANCELLED),
        }
    ),
    ItemState.RUNNING: frozenset({ItemState.PENDING, ItemState.COLLECTING, ItemState.FAILED, ItemState.CANCELLED}),
    ItemState.COLLECTING: frozenset({ItemState.PENDING, ItemState.SUCCEEDED, ItemState.FAILED}),
    ItemState.UNKNOWN: frozenset({ItemState.RUNNING, ItemState.PENDING, ItemState.CANCELLED}),
    ItemState.FAILED: frozenset({ItemState.PENDING, ItemState.COLLECTING}),
    ItemState.CANCELLED: frozenset({ItemState.PENDING, ItemState.RUNNING}),
    ItemState.SUCCEEDED: frozenset(),
}
"""{state: states that it may change to}. The ledger refuses all other changes."""


class Stop(StrEnum):
    """Why a batch was stopped before its end. The values are the texts that people read and that the ledger stores."""

    BY_HAND = "Cancelled by hand."
    FAILURES = "Stopped: more items failed than limits.tolerated_failures allows."
    BUDGET = "Stopped: limits.budget_usd is spent."
    CEILING = "Stopped: PIPELINE_MAX_BATCH_USD, the ceiling of the service for a batch, is spent."
    DEADLINE = "Stopped: limits.deadline has passed."
    SUBMISSION = "Its submission was not completed: nothing was started."


def batch_outcome(counts: Mapping[str, int], stopped: str | None) -> BatchState:
    """Return the final state of a batch whose items have all ended.

    `counts` is {item state: number of items}; `stopped` is the Stop that ended it early, or None.
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


def ended_count(counts: Mapping[str, int]) -> int:
    """Return how many items have ended. `counts` is {item state: number of items}."""
    return sum(count for state, count in counts.items() if state in TERMINAL)
