"""The words that pages and commands use for states. JSON documents have the values of the states themselves. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.domain.states import BatchState, ItemState

PARALLEL_RUNS = "parallel runs allowed"
"""The concurrency limit of the account."""
FAILED_JOBS = "failed background jobs"
"""RQ jobs that raised an error."""
_ITEM_WORDS = {ItemState.UNKNOWN: "result unknown, may be billed"}
_NOT_SUCCEEDED = (ItemState.FAILED, ItemState.CANCELLED, ItemState.UNKNOWN)


def item_words(state: str) -> str:
    """Return the words for the state of an item. Other text, such as an event of a timeline, stays as it is."""
    return _ITEM_WORDS.get(ItemState(state), state) if state in set(ItemState) else state


def batch_words(status: str, counts: Mapping[str, int]) -> str:
    """Return the words for the status of a batch: `finished, 4 failed` for `partial`.

    `counts` is {item state: number of items}.
    """
    if status != BatchState.PARTIAL:
        return status
    rest = [f"{counts[state]:,} {item_words(state)}" for state in _NOT_SUCCEEDED if counts.get(state)]
    return ", ".join(["finished", *rest])
