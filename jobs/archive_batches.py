"""The `archive_batches` job: batches that ended long ago leave Redis."""

from __future__ import annotations

import time

from jobs.context import context, stopping
from pipeline.batches.job_queue import Job

TIME_BUDGET_S = 10.0
"""After so long the job waits in its queue again, behind all others."""


def archive_batches() -> None:
    """Archive the batches that are due. A second call at the same time is harmless."""
    service = context().service
    service.job_queue.clear_pending(Job.ARCHIVE_BATCHES)
    ends = time.monotonic() + TIME_BUDGET_S
    for batch_id in service.retention.find():
        if stopping.is_set():
            return
        if time.monotonic() > ends:
            service.job_queue.enqueue_once(Job.ARCHIVE_BATCHES)
            return
        service.retention.archive(batch_id)
    service.ledger.retention.trim_spend()
