"""The `write_status_files` job: writes how a batch ended into `KEY.status.json`, beside each object that started it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import structlog

from jobs.context import context
from pipeline.batches.job_queue import Job
from pipeline.batches.service import Service
from pipeline.domain.model import BatchRow
from pipeline.errors import NoSuchBatch, StorageError
from pipeline.storage.s3 import Storage
from pipeline.triggers.object_version import ObjectVersion
from pipeline.triggers.status_files import StatusFiles
from pipeline.triggers.store import TriggerStore

log = structlog.get_logger()

_MAX_CONCURRENT = 8
_MAX_RETRIES = 8
_FIRST_RETRY_S = 5.0


def write_status_files(batch_id: str, retries: str = "0") -> None:
    """Write the status file of every object that started the batch. A second call writes the same files.

    `retries`: how often this job has been enqueued again for the batch because it failed.
    """
    service = context().service
    service.job_queue.clear_pending(Job.WRITE_STATUS_FILES, batch_id)
    try:
        is_written = _write_all(service, batch_id)
    except NoSuchBatch:
        return
    except Exception:
        # No other job writes them.
        _enqueue_again(service, batch_id, int(retries))
        raise
    if not is_written:
        _enqueue_again(service, batch_id, int(retries))


def _enqueue_again(service: Service, batch_id: str, retries: int) -> None:
    if retries < _MAX_RETRIES:
        delay_s = _FIRST_RETRY_S * 2**retries
        service.job_queue.enqueue_in(Job.WRITE_STATUS_FILES, delay_s, batch_id, str(retries + 1))


def _write_all(service: Service, batch_id: str) -> bool:
    """Return False if a retry may write what is not written."""
    batch = service.ledger.batches.get(batch_id)
    if batch.finished is None:
        # The batch was opened again: the job runs after its next end.
        return True
    objects = TriggerStore.connect(service.settings.redis_url).objects(batch_id)
    with ThreadPoolExecutor(_MAX_CONCURRENT) as executor:
        written = list(executor.map(lambda version: _write(service.storage, version, batch), objects))
    if all(written):
        log.info("status_files_written", batch=batch_id, objects=len(objects))
    return all(written)


def _write(storage: Storage, version: ObjectVersion, batch: BatchRow) -> bool:
    """Write one status file. Return False if a retry may succeed."""
    try:
        StatusFiles(storage).ended(version, batch)
    except StorageError as error:
        log.warning("trigger_status_not_written", batch=batch.id, object=version.uri, error=str(error))
        return not error.retryable
    except Exception:
        # The other files are written.
        log.exception("trigger_status_crashed", batch=batch.id, object=version.uri)
    return True
