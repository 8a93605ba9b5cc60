"""`report`: beside the objects that started a batch stands how it ended, and where its results are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import structlog

from jobs.context import Context, context
from pipeline.batches.job_queue import Job
from pipeline.domain.model import BatchRow
from pipeline.domain.results import results_uri
from pipeline.errors import StorageError
from pipeline.triggers.object_version import ObjectVersion
from pipeline.triggers.status_files import StatusFiles
from pipeline.triggers.store import TriggerStore

log = structlog.get_logger()

_MAX_CONCURRENT = 8
_MAX_ATTEMPTS = 8
_FIRST_WAIT_S = 5.0


def write_status_files(batch_id: str, tries: str = "0") -> None:
    """Write the status of every drop of a batch that has ended. Doing it twice changes nothing."""
    ctx = context()
    ctx.job_queue.clear_pending(Job.WRITE_STATUS_FILES, batch_id)
    batch = ctx.ledger.batches.get(batch_id)
    if batch.finished is None:
        # It was opened again meanwhile: its next end is told.
        return
    objects = TriggerStore.connect(ctx.settings.redis_url).objects(batch_id)
    with ThreadPoolExecutor(_MAX_CONCURRENT) as executor:
        told = list(executor.map(lambda version: _tell(ctx, version, batch), objects))
    if all(told):
        log.info("batch_reported", batch=batch_id, objects=len(objects))
    elif int(tries) < _MAX_ATTEMPTS:
        ctx.job_queue.enqueue_in(Job.WRITE_STATUS_FILES, _FIRST_WAIT_S * 2 ** int(tries), batch_id, str(int(tries) + 1))


def _tell(ctx: Context, version: ObjectVersion, batch: BatchRow) -> bool:
    try:
        StatusFiles(ctx.storage).ended(version, batch, results_uri(batch))
    except StorageError as error:
        log.warning("object_not_told", batch=batch.id, object=version.uri, error=str(error))
        return not error.retryable
    return True
