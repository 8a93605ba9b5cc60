"""Reviews of items, and takes: new items with a changed prompt."""

from __future__ import annotations

import re
from collections.abc import Callable

from pipeline.batches.decision_journal import DecisionLog
from pipeline.batches.job_queue import Job, JobQueue
from pipeline.domain.model import Review
from pipeline.errors import TooManyTakes
from pipeline.ledger.ledger import Ledger

REWRITE_DELAY_S = 3.0
"""Seconds in which reviews of an ended batch are collected before its results are written again."""

MAX_TAKES = 1000
"""Maximum number of takes of an item, with the first one."""
_MAX_ID_CHARS = 128
_TAKE = re.compile(r"-take[0-9]+$")


class Reviews:
    """Records reviews and creates takes. Methods raise NoSuchBatch, NoSuchItem and Unreachable.

    `restore`: loads the items of a batch again if it is archived. Methods may raise what it raises.
    """

    def __init__(
        self, ledger: Ledger, decisions: DecisionLog, job_queue: JobQueue, restore: Callable[[str], None]
    ) -> None:
        self._ledger = ledger
        self._restore = restore
        self._decisions = decisions
        self._job_queue = job_queue

    def review(self, batch_id: str, item_id: str, review: Review | None) -> None:
        """Record a review of an item; None removes it. If the batch has ended, its results are written again."""
        self._restore(batch_id)
        rewrite_results = self._ledger.items.review(batch_id, item_id, review)
        fields = {"mark": review.mark, "note": review.note} if review else {"mark": None}
        self._decisions.write(batch_id, {"do": "review", "item": item_id, **fields})
        if rewrite_results:
            self._job_queue.enqueue_in(Job.FINISH, REWRITE_DELAY_S, batch_id)

    def create_take(self, batch_id: str, item_id: str, prompt: str) -> str:
        """Add an item with the image and parameters of `item_id` and another prompt. Return its id.

        Raises TooManyTakes.
        """
        self._restore(batch_id)
        original = self._ledger.items.spec(batch_id, item_id)
        spec = {**original, "prompt": prompt, "take_of": item_id}
        first_id = _TAKE.sub("", item_id) if original.get("take_of") else item_id
        for number in range(2, MAX_TAKES + 1):
            new_id = take_id(first_id, number)
            if self._ledger.items.add(batch_id, new_id, spec):
                break
        else:
            raise TooManyTakes(first_id, MAX_TAKES)
        self._decisions.write(batch_id, {"do": "add", "item": new_id, "spec": spec})
        self._job_queue.enqueue_once(Job.SUBMIT)
        return new_id


def take_id(first_id: str, number: int) -> str:
    """Return the id of a take of an item. It is not longer than the id of an item may be."""
    suffix = f"-take{number}"
    return first_id[: _MAX_ID_CHARS - len(suffix)] + suffix
