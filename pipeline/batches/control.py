"""Commands for batches and for the account: cancel, retry, pause, resume."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

from pipeline.batches.decision_journal import DecisionLog
from pipeline.batches.job_queue import Job, JobQueue
from pipeline.domain.chunks import chunked
from pipeline.domain.failure_groups import cause_of
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.errors import DamagedRecord, NoSuchBatch
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.redis_client import CommandRefused

_PAUSED_BY_HAND = "Paused by hand."
_CHUNK = 500


class BatchControl:
    """Changes batches in the ledger. All methods raise Unreachable, and NoSuchBatch for an unknown batch.

    `restore`: loads the items of a batch again if it is archived. Methods that retry items may raise what it raises.
    """

    def __init__(
        self, ledger: Ledger, decisions: DecisionLog, job_queue: JobQueue, restore: Callable[[str], None]
    ) -> None:
        self._ledger = ledger
        self._restore = restore
        self._decisions = decisions
        self._job_queue = job_queue

    def cancel(self, batch_id: str) -> None:
        """Cancel a batch: its pending items at once, its active runs at the vendor; a half-done submission whole."""
        if self.cancel_submission(batch_id, Stop.BY_HAND):
            return
        self.stop(batch_id, Stop.BY_HAND, [BatchState.QUEUED, BatchState.RUNNING, BatchState.PAUSED])

    def cancel_submission(self, batch_id: str, reason: Stop, *, min_age_s: float = 0) -> bool:
        """Cancel a batch whose submission was not completed. Return False if it was, or is younger."""
        if not self._ledger.batches.cancel_submission(batch_id, reason, min_age_s=min_age_s):
            return False
        self._decisions.write(batch_id, {"do": "stop", "reason": reason})
        if self._ledger.batches.get(batch_id).trigger.startswith("trigger:"):
            self._job_queue.enqueue_once(Job.WRITE_STATUS_FILES, batch_id)
        return True

    def stop(self, batch_id: str, reason: Stop, among: list[BatchState]) -> None:
        """Cancel a batch for `reason` if its status is one of `among`."""
        if not self._ledger.batches.set_status(batch_id, BatchState.CANCELLING, among=among, reason=reason):
            return
        if self._ledger.batches.is_loaded(batch_id):
            self.cancel_pending(batch_id, reason)
            self._ledger.items.poll_now(batch_id)
            self._job_queue.enqueue_once(Job.COLLECT)
        self._decisions.write(batch_id, {"do": "stop", "reason": reason})

    def cancel_pending(self, batch_id: str, reason: str) -> None:
        """Cancel the pending items of a batch that is being cancelled."""
        if self._ledger.items.cancel_pending(batch_id, reason) == 0:
            self._job_queue.enqueue_once(Job.FINISH, batch_id)

    def retry(self, batch_id: str, states: Collection[str]) -> int:
        """Reopen the ended items in `states` and return their number. A paid run is copied again, not bought again."""
        self._restore(batch_id)
        reopened = self._ledger.items.retry(batch_id, states)
        if reopened:
            self._decisions.write(batch_id, {"do": "reopen", "states": sorted(states)})
            self._enqueue_runs()
        return reopened

    def retry_cause(self, batch_id: str, cause: str) -> int:
        """Reopen the failed items with one cause, as `cause_of` names it. Return their number."""
        self._ledger.batches.get(batch_id)
        self._restore(batch_id)
        reopened = 0
        rows = self._ledger.items.stream(batch_id, {ItemState.FAILED})
        for chunk in chunked((row.id for row in rows if cause_of(row.error) == cause), _CHUNK):
            retried = self._ledger.items.retry_failed(batch_id, chunk)
            if retried:
                self._decisions.write(batch_id, {"do": "reopen", "states": [ItemState.FAILED], "items": retried})
                self._enqueue_runs()
            reopened += len(retried)
        return reopened

    def retry_item(self, batch_id: str, item_id: str, states: Collection[str]) -> bool:
        """Reopen one item that ended in one of `states`. Return False if it did not. Raises NoSuchItem."""
        self._restore(batch_id)
        state = self._ledger.items.get(batch_id, item_id).status
        reopened = self._ledger.items.retry_one(batch_id, item_id, states)
        if reopened:
            self._decisions.write(batch_id, {"do": "reopen", "states": [state], "items": [item_id]})
            self._enqueue_runs()
        return reopened

    def pause(self, batch_id: str) -> None:
        """Stop submitting runs of a batch. Its active runs are still collected."""
        self._ledger.batches.pause(batch_id)

    def pause_model(self, model: str, reason: str) -> list[str]:
        """Pause the running batches of `model`, which the account may not run. Return their ids."""
        batches = self._ledger.batches
        paused = []
        for batch_id in batches.open_ids():
            # The sweep reports a batch that cannot be read.
            with suppress(NoSuchBatch, DamagedRecord, CommandRefused):
                if batches.get(batch_id).model.lower() == model.lower() and batches.set_status(
                    batch_id, BatchState.PAUSED, among=[BatchState.RUNNING], reason=reason
                ):
                    paused.append(batch_id)
        return paused

    def resume(self, batch_id: str) -> None:
        """Submit runs of a paused batch again."""
        self._ledger.batches.resume(batch_id)
        self._job_queue.enqueue_once(Job.SUBMIT)

    def pause_account(self) -> None:
        """Stop submitting runs of all batches. Active runs are still collected."""
        self._ledger.account.pause(_PAUSED_BY_HAND)

    def resume_account(self) -> None:
        """End a pause and a backoff of the account."""
        self._ledger.account.resume()
        self._job_queue.enqueue_once(Job.SUBMIT)

    def _enqueue_runs(self) -> None:
        self._job_queue.enqueue_once(Job.SUBMIT)
        self._job_queue.enqueue_once(Job.COLLECT)
