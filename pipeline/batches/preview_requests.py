"""Requests for previews. They are a convenience: no failure here may fail or delay the work on a run."""

from __future__ import annotations

import structlog

from pipeline.batches.job_queue import JobQueue
from pipeline.errors import DailiesError
from pipeline.ledger.previews import PreviewStore

log = structlog.get_logger()


class PreviewRequests:
    """Requests previews. Thread-safe. `is_enabled`: whether this installation can make any."""

    def __init__(self, store: PreviewStore, job_queue: JobQueue, *, is_enabled: bool) -> None:
        self._store = store
        self._job_queue = job_queue
        self._is_enabled = is_enabled

    def request(self, batch_id: str, item_id: str = "") -> None:
        """Request the previews of an item, or those that the batch lacks. A failure is only logged.

        A request that is lost here is made again when the batch ends.
        """
        if not self._is_enabled:
            return
        try:
            self._store.request(batch_id, [item_id])
            self._job_queue.enqueue_previews()
        except Exception as error:
            reason = str(error) if isinstance(error, DailiesError) else type(error).__name__
            log.warning("previews_not_requested", batch=batch_id, item=item_id, error=reason)
