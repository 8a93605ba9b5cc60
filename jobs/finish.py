"""`finish`: when every item of a batch has ended, its results are written, and results.json last of all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import BinaryIO

import structlog

from jobs.context import Context, context, plan
from pipeline.domain import results
from pipeline.domain.model import BatchRow
from pipeline.domain.states import BatchState, batch_outcome
from pipeline.errors import StorageError
from pipeline.gallery import gallery_page
from pipeline.ledger.records import Finished
from pipeline.storage.s3 import join

log = structlog.get_logger()

_REPORT_AGAIN_S = 30.0


def finish(batch_id: str) -> None:
    """Write the results of a batch. Doing it twice, or twice at once, makes one results.json."""
    ctx = context()
    ctx.job_queue.clear_pending("finish", batch_id)
    lease = ctx.ledger.finalization.claim(batch_id, lease_s=ctx.settings.lease_s)
    if lease is None:
        return
    row = ctx.ledger.batches.get(batch_id)
    finished = row.finished or datetime.now(UTC).replace(microsecond=0)
    batch = replace(row, status=batch_outcome(row.counts, row.reason), finished=finished)
    try:
        written = _write(ctx, batch, lease)
    except StorageError as error:
        # The claim runs out and the sweep asks again.
        log.warning("results_not_written", batch=batch_id, error=str(error))
    else:
        if written:
            _tidy(ctx, batch)
            _close(ctx, batch, lease)


def _write(ctx: Context, batch: BatchRow, lease: str) -> bool:
    """Write all four files. False when somebody else writes them now."""
    uri = join(batch.output, results.RESULTS)
    before = ctx.storage.info(uri)
    if before and results.revision_of(ctx.storage.read_prefix(uri, results.HEAD_BYTES) or b"") >= batch.revision:
        return True
    page = (piece.encode("utf-8", "replace") for piece in gallery_page.page(batch, ctx.ledger.items.stream(batch.id)))
    files: list[tuple[str, str, Iterable[bytes]]] = [
        ("results.jsonl", "application/x-ndjson", results.as_jsonl(ctx.ledger.items.stream(batch.id))),
        ("results.csv", "text/csv; charset=utf-8", results.as_csv(ctx.ledger.items.stream(batch.id))),
        ("index.html", "text/html; charset=utf-8", page),
    ]
    for name, content_type, pieces in files:
        with tempfile.TemporaryFile() as file:
            _fill(file, pieces)
            if not ctx.ledger.finalization.renew(batch.id, lease, lease_s=ctx.settings.lease_s):
                return False
            ctx.storage.put(join(batch.output, name), file, content_type)
    with tempfile.TemporaryFile() as file:
        _fill(file, results.as_json(batch, ctx.ledger.items.stream(batch.id)))
        if not ctx.ledger.finalization.renew(batch.id, lease, lease_s=ctx.settings.lease_s):
            return False
        return ctx.storage.put_if_match(uri, file, "application/json", before.etag if before else None)


def _fill(file: BinaryIO, pieces: Iterable[bytes]) -> None:
    file.writelines(pieces)
    file.seek(0)


def _tidy(ctx: Context, batch: BatchRow) -> None:
    """No output is under way any more: what uploads were left unfinished go."""
    try:
        aborted = ctx.storage.abort_uploads(join(batch.output, "items/"))
    except StorageError as error:
        # It costs a little, and a bucket's rule may do it too; keys need not allow it.
        log.warning("uploads_not_aborted", batch=batch.id, error=str(error))
    else:
        if aborted:
            log.info("uploads_aborted", batch=batch.id, uploads=aborted)


def _close(ctx: Context, batch: BatchRow, lease: str) -> None:
    finished = batch.finished or datetime.now(UTC)
    if batch.trigger.startswith("trigger:"):
        # Should we die before it is asked for below: telling it twice changes nothing.
        ctx.job_queue.enqueue_in("status_report", _REPORT_AGAIN_S, batch.id)
    notify = plan(batch.id).notify is not None
    ended = ctx.ledger.finalization.complete(
        batch.id, lease, BatchState(batch.status), finished, batch.revision, notify=notify
    )
    if notify and ended is not Finished.NOT_OURS:
        ctx.job_queue.enqueue_once("deliver_notifications")
    match ended:
        case Finished.DONE:
            if batch.trigger.startswith("trigger:"):
                ctx.job_queue.enqueue_once("status_report", batch.id)
            elif batch.trigger.startswith("schedule:"):
                # A tick may have waited for this end.
                ctx.job_queue.enqueue_once("run_schedules")
            log.info("batch_finished", batch=batch.id, status=batch.status, revision=batch.revision)
        case Finished.DUE_AGAIN:
            ctx.job_queue.enqueue_once("finish", batch.id)
        case Finished.NOT_OURS:
            log.warning("finish_not_ours", batch=batch.id)
