"""Reviews and takes: what a person decides about the output of an item."""

from __future__ import annotations

from itertools import count

from pipeline.batches.decisions import DecisionLog
from pipeline.batches.job_queue import Job, JobQueue
from pipeline.domain.model import Review
from pipeline.ledger.ledger import Ledger

REWRITE_DELAY_S = 3.0
"""How long reviews of an ended batch are collected before its results are written again, in seconds."""


class Reviews:
    """Records reviews and creates takes. Methods raise NoSuchBatch, NoSuchItem and Unreachable."""

    def __init__(self, ledger: Ledger, decisions: DecisionLog, job_queue: JobQueue) -> None:
        self._ledger = ledger
        self._decisions = decisions
        self._job_queue = job_queue

    def review(self, batch_id: str, item_id: str, review: Review | None) -> None:
        """Note a person's verdict on an item, None takes it back; results that are written are written anew.

        Raises NoSuchBatch, NoSuchItem.
        """
        due = self._ledger.items.review(batch_id, item_id, review)
        verdict = {"mark": review.mark, "note": review.note} if review else {"mark": None}
        self._decisions.write(batch_id, {"do": "review", "item": item_id, **verdict})
        if due:
            self._job_queue.enqueue_in(Job.FINISH, REWRITE_DELAY_S, batch_id)

    def create_take(self, batch_id: str, item_id: str, prompt: str) -> str:
        """Another take of an item, with another prompt, in the same batch. Answers the new item's id.

        Raises NoSuchBatch, NoSuchItem.
        """
        spec = {**self._ledger.items.spec(batch_id, item_id), "prompt": prompt, "take_of": item_id}
        for number in count(2):
            new_id = f"{item_id}-take{number}"
            if self._ledger.items.add(batch_id, new_id, spec):
                break
        self._decisions.write(batch_id, {"do": "add", "item": new_id, "spec": spec})
        self._job_queue.enqueue_once(Job.SUBMIT)
        return new_id
