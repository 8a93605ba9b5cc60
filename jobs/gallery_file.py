"""The gallery of a batch on S3, beside its results. Only this module writes it."""

from __future__ import annotations

from collections.abc import Callable
from tempfile import TemporaryFile

import structlog

from jobs.context import Context
from pipeline.domain.model import BatchRow
from pipeline.gallery import gallery_page
from pipeline.storage.s3 import join

MAX_WRITES = 3
"""Attempts to replace an object of a batch that changes meanwhile."""

log = structlog.get_logger()


def write_gallery(ctx: Context, batch: BatchRow, previews: frozenset[str], is_current: Callable[[], bool]) -> bool:
    """Write the gallery of an ended batch with these previews, see `PreviewStore.all_made`.

    `is_current`: returns, right before a write, whether `batch` still is what the gallery has to show. Return False if
    it is not, or if other writers changed the gallery during each write, which is logged. Raises StorageError.
    """
    storage, uri = ctx.service.storage, join(batch.output, gallery_page.FILE)
    for _ in range(MAX_WRITES):
        before = storage.info(uri)
        with TemporaryFile() as file:
            file.writelines(gallery_page.encoded(batch, ctx.service.ledger.items.stream(batch.id), previews))
            file.seek(0)
            if not is_current():
                return False
            if storage.put_if_match(uri, file, gallery_page.CONTENT_TYPE, before.etag if before else None):
                log.info("gallery_written", batch=batch.id, previews=len(previews))
                return True
    log.warning("gallery_not_written", batch=batch.id, error=changed_meanwhile(uri))
    return False


def changed_meanwhile(uri: str) -> str:
    """Return why MAX_WRITES conditional writes failed."""
    return f"{uri} changed during each of {MAX_WRITES} writes, or S3 refuses the condition If-Match."
