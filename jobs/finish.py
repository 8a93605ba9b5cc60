"""The `finish` job: writes the results of a batch whose items have all ended, `results.json` last."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import BinaryIO

import structlog

from jobs.context import Context, context
from jobs.gallery_file import MAX_WRITES, changed_meanwhile, write_gallery
from pipeline.batches.job_queue import Job
from pipeline.domain import results
from pipeline.domain.model import BatchRow
from pipeline.domain.states import BatchState, batch_outcome
from pipeline.errors import StorageError
from pipeline.ledger.records import FinalizationResult
from pipeline.storage.s3 import ObjectInfo, Storage, join

log = structlog.get_logger()

_STATUS_FILES_DELAY_S = 30.0


def finish(batch_id: str) -> None:
    """Write the results of a batch. Two calls, also at the same time, write one results.json."""
    ctx = context()
    ctx.service.job_queue.clear_pending(Job.FINISH, batch_id)
    lease = ctx.service.ledger.finalization.claim(batch_id, lease_s=ctx.service.settings.lease_s)
    if lease is None:
        return
    row = ctx.service.ledger.batches.get(batch_id)
    finished = row.finished or datetime.now(UTC).replace(microsecond=0)
    batch = replace(row, status=batch_outcome(row.counts, row.reason), finished=finished)
    try:
        is_written = _write_results(ctx, batch, lease)
    except StorageError as error:
        # The lease expires and the sweep enqueues this job again.
        log.warning("results_not_written", batch=batch_id, error=str(error))
    else:
        if is_written:
            _abort_uploads(ctx, batch)
            _close(ctx, batch, lease, finished)


def _write_results(ctx: Context, batch: BatchRow, lease: str) -> bool:
    """Write all four files. Return False if the lease was lost, or one of them changed during each write of it."""
    storage, items = ctx.service.storage, ctx.service.ledger.items
    uri = join(batch.output, results.RESULTS)
    before = storage.info(uri)
    if before and _is_written(storage, uri, batch):
        return True
    files: list[tuple[str, str, Iterable[bytes]]] = [
        ("results.jsonl", "application/x-ndjson", results.as_jsonl(items.stream(batch.id))),
        ("results.csv", "text/csv; charset=utf-8", results.as_csv(items.stream(batch.id))),
    ]
    for name, content_type, pieces in files:
        with tempfile.TemporaryFile() as file:
            _fill(file, pieces)
            if not _renew(ctx, batch, lease):
                return False
            storage.put(join(batch.output, name), file, content_type)
    previews = ctx.service.ledger.previews.all_made(batch.id)
    if not write_gallery(ctx, batch, previews, lambda: _renew(ctx, batch, lease)):
        return False
    with tempfile.TemporaryFile() as file:
        _fill(file, results.as_json(batch, items.stream(batch.id)))
        return _replace(ctx, batch, lease, file, before)


def _replace(ctx: Context, batch: BatchRow, lease: str, file: BinaryIO, before: ObjectInfo | None) -> bool:
    """Write results.json, unless it has this revision by now. Return False if it is not written."""
    storage, uri = ctx.service.storage, join(batch.output, results.RESULTS)
    for _ in range(MAX_WRITES):
        file.seek(0)
        if not _renew(ctx, batch, lease):
            return False
        if storage.put_if_match(uri, file, "application/json", before.etag if before else None):
            return True
        # Another worker, or a person, has written it; or the first of two requests did, whose response was lost.
        before = storage.confirmed_info(uri)
        if before and _is_written(storage, uri, batch):
            return True
    # The sweep repeats the job after the lease has expired.
    log.warning("results_not_written", batch=batch.id, error=changed_meanwhile(uri))
    return False


def _is_written(storage: Storage, uri: str, batch: BatchRow) -> bool:
    return results.revision_of(storage.read_prefix(uri, results.HEAD_BYTES) or b"") >= batch.revision


def _fill(file: BinaryIO, pieces: Iterable[bytes]) -> None:
    file.writelines(pieces)
    file.seek(0)


def _renew(ctx: Context, batch: BatchRow, lease: str) -> bool:
    is_ours = ctx.service.ledger.finalization.renew(batch.id, lease, lease_s=ctx.service.settings.lease_s)
    if not is_ours:
        log.warning("finish_lease_lost", batch=batch.id)
    return is_ours


def _abort_uploads(ctx: Context, batch: BatchRow) -> None:
    """Abort unfinished multipart uploads of outputs. No output of the batch is being copied any more."""
    try:
        aborted = ctx.service.storage.abort_uploads(join(batch.output, "items/"))
    except StorageError as error:
        # Unfinished uploads cost little, a bucket rule can abort them, and the keys need no permission for it.
        log.warning("uploads_not_aborted", batch=batch.id, error=str(error))
    else:
        if aborted:
            log.info("uploads_aborted", batch=batch.id, uploads=aborted)


def _close(ctx: Context, batch: BatchRow, lease: str, finished: datetime) -> None:
    """Mark the batch as ended, and enqueue what follows its end."""
    job_queue = ctx.service.job_queue
    is_triggered = batch.trigger.startswith("trigger:")
    if is_triggered:
        # If this worker crashes after `complete`, no other job writes the status files. A second write is harmless.
        job_queue.enqueue_in(Job.WRITE_STATUS_FILES, _STATUS_FILES_DELAY_S, batch.id)
    notify = ctx.batch_config(batch.id).notify is not None
    completed = ctx.service.ledger.finalization.complete(
        batch.id, lease, BatchState(batch.status), finished, batch.revision, notify=notify
    )
    if completed is FinalizationResult.NOT_OURS:
        log.warning("finish_lease_lost", batch=batch.id)
        return
    if notify:
        job_queue.enqueue_once(Job.DELIVER_NOTIFICATIONS)
    # Previews that are still to be made, and the gallery with them.
    ctx.service.previews.request(batch.id)
    if completed is FinalizationResult.DUE_AGAIN:
        job_queue.enqueue_once(Job.FINISH, batch.id)
        return
    if is_triggered:
        job_queue.enqueue_once(Job.WRITE_STATUS_FILES, batch.id)
    elif batch.trigger.startswith("schedule:"):
        # An occurrence of the schedule may wait for this end.
        job_queue.enqueue_once(Job.RUN_SCHEDULES)
    log.info("batch_finished", batch=batch.id, status=batch.status, revision=batch.revision)
