"""`finish`: when every item of a batch has ended, its results are written, and results.json last of all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import BinaryIO

import structlog

from jobs.context import Context, context
from pipeline import gallery, results
from pipeline.model import BatchRow
from pipeline.service import RESULTS
from pipeline.states import BatchState, batch_outcome
from pipeline.storage import join

log = structlog.get_logger()


def finish(batch_id: str) -> None:
    """Write the results of a batch. Doing it twice, or twice at once, makes one results.json."""
    ctx = context()
    ctx.waker.begun("finish", batch_id)
    lease = ctx.ledger.claim_finish(batch_id, lease_s=ctx.settings.lease_s)
    if lease is None:
        return
    batch = ctx.ledger.batch(batch_id)
    status = batch_outcome(batch.counts, batch.reason)
    finished = datetime.now(UTC).replace(microsecond=0)
    if _write(ctx, replace(batch, status=status, finished=finished), lease):
        _close(ctx, batch_id, lease, status, finished)


def _write(ctx: Context, batch: BatchRow, lease: str) -> bool:
    """Write all four files. False when somebody else writes them now."""
    uri = join(batch.output, RESULTS)
    before = ctx.storage.info(uri)
    if before and results.revision_of(ctx.storage.head(uri, results.HEAD_BYTES) or b"") >= batch.revision:
        return True
    page = (piece.encode("utf-8", "replace") for piece in gallery.page(batch, ctx.ledger.items(batch.id)))
    files: list[tuple[str, str, Iterable[bytes]]] = [
        ("results.jsonl", "application/x-ndjson", results.as_jsonl(ctx.ledger.items(batch.id))),
        ("results.csv", "text/csv; charset=utf-8", results.as_csv(ctx.ledger.items(batch.id))),
        ("index.html", "text/html; charset=utf-8", page),
    ]
    for name, content_type, pieces in files:
        with tempfile.TemporaryFile() as file:
            _fill(file, pieces)
            if not ctx.ledger.renew_finish(batch.id, lease, lease_s=ctx.settings.lease_s):
                return False
            ctx.storage.put_file(join(batch.output, name), file, content_type)
    with tempfile.TemporaryFile() as file:
        _fill(file, results.as_json(batch, ctx.ledger.items(batch.id)))
        if not ctx.ledger.renew_finish(batch.id, lease, lease_s=ctx.settings.lease_s):
            return False
        return ctx.storage.put_file_over(uri, file, "application/json", before.etag if before else None)


def _fill(file: BinaryIO, pieces: Iterable[bytes]) -> None:
    file.writelines(pieces)
    file.seek(0)


def _close(ctx: Context, batch_id: str, lease: str, status: BatchState, finished: datetime) -> None:
    if not ctx.ledger.finish_batch(batch_id, lease, status, finished):
        log.warning("finish_not_ours", batch=batch_id)
        return
    log.info("batch_finished", batch=batch_id, status=status)
