"""The `make_previews` job: makes the posters and thumbnails that are requested, beside all other work.

The job returns at once: a thread makes the previews, and a process with the lowest priority decodes the files. So a
worker stays free for the jobs of runs, and a file that was made to harm the decoder cannot harm them.
"""

from __future__ import annotations

import threading
import time
from functools import lru_cache

import structlog

from jobs.context import Context, context, stopping
from jobs.gallery_file import write_gallery
from pipeline.batches.job_queue import Job
from pipeline.batches.preview_maker import MAX_SOURCE_BYTES, PreviewMaker
from pipeline.domain.chunks import chunked
from pipeline.domain.model import BatchRow
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.errors import (
    BatchArchived,
    DailiesError,
    DamagedRecord,
    NoSuchBatch,
    NoSuchItem,
    OperationFailed,
    Unreachable,
)
from pipeline.ledger.previews import MAX_ATTEMPTS, PreviewRequest
from pipeline.net.download import Downloader
from pipeline.previews.renderer import is_available
from pipeline.triggers.input_images import InputImages
from pipeline.triggers.rule_loader import RuleLoader

TIME_BUDGET_S = 20.0
"""How long the thread works. Then the job waits in its queue again, behind all others."""
LEASE_S = 300.0
_FIRST_RETRY_S = 60.0
_SEARCH_AGAIN_S = 5.0
_STOP_WAIT_S = 5.0
_CHUNK = 500
_busy = threading.Lock()

log = structlog.get_logger()


class GalleryNotWritten(OperationFailed):
    """Other writers changed the gallery during each write."""


def make_previews() -> None:
    """Start to make previews in the background, unless this worker does already or lacks the libraries."""
    ctx = context()
    if is_available() and not stopping.is_set() and _busy.acquire(blocking=False):
        threading.Thread(target=_work, args=(ctx, _maker()), name="previews", daemon=True).start()


def wait_until_stopped() -> None:
    """Wait until the thread has ended, after `stopping` is set. It kills the process that decodes."""
    if _busy.acquire(timeout=_STOP_WAIT_S):
        _busy.release()


@lru_cache(maxsize=1)
def _maker() -> PreviewMaker:
    service = context().service
    settings = service.settings
    images = InputImages(settings.prefixes, RuleLoader(settings.triggers).rules)
    downloader = Downloader(settings.fetch_hosts, max_bytes=MAX_SOURCE_BYTES, any_public=True)
    return PreviewMaker(service.storage, downloader, service.ledger.previews, images.allow, stopping.is_set)


def _work(ctx: Context, maker: PreviewMaker) -> None:
    """Serve requests until none is due or the time is over. If this worker is killed, their leases expire."""
    try:
        try:
            serve_requests(ctx, maker)
        finally:
            _busy.release()
        # Only now: while this thread works, further requests need no job.
        ctx.service.job_queue.clear_pending(Job.MAKE_PREVIEWS)
        if ctx.service.ledger.previews.has_due():
            ctx.service.job_queue.enqueue_previews()
    except DailiesError as error:
        # The sweep enqueues the job again.
        log.warning("previews_interrupted", error=str(error))
    except Exception:
        log.exception("previews_crashed")


def serve_requests(ctx: Context, maker: PreviewMaker) -> None:
    """Serve requests until none is due, the time is over or the worker stops."""
    ends = time.monotonic() + TIME_BUDGET_S
    while time.monotonic() < ends and not stopping.is_set():
        request = ctx.service.ledger.previews.claim(lease_s=LEASE_S)
        if request is None:
            return
        _serve(ctx, maker, request)


def _serve(ctx: Context, maker: PreviewMaker, request: PreviewRequest) -> None:
    previews = ctx.service.ledger.previews
    try:
        batch = ctx.service.ledger.batches.get(request.batch_id)
        if request.item_id:
            _make(ctx, maker, batch, request.item_id)
        elif not _search(ctx, maker, batch, request.attempt):
            # Later than the requests that the search has made: their previews come first.
            previews.reschedule(request, _SEARCH_AGAIN_S * 4 ** (request.attempt - 1))
            return
    except OperationFailed as error:
        log.warning("previews_deferred", batch=request.batch_id, item=request.item_id, error=str(error))
        previews.reschedule(request, _FIRST_RETRY_S * 4 ** (request.attempt - 1))
    except (NoSuchBatch, NoSuchItem, BatchArchived, DamagedRecord):
        previews.complete(request)
    except Unreachable:
        raise
    except Exception:
        # The other requests go on.
        log.exception("preview_crashed", batch=request.batch_id, item=request.item_id)
        previews.reschedule(request, _FIRST_RETRY_S * 4 ** (request.attempt - 1))
    else:
        previews.complete(request)


def _make(ctx: Context, maker: PreviewMaker, batch: BatchRow, item_id: str) -> None:
    """Make the missing previews of an item. Raises the last error of those that could not be made now."""
    failure: OperationFailed | None = None
    for source in maker.missing(batch, [ctx.service.ledger.items.get(batch.id, item_id)]):
        try:
            maker.make(batch, source)
        except OperationFailed as error:
            failure = error
    if failure:
        raise failure


def _search(ctx: Context, maker: PreviewMaker, batch: BatchRow, attempt: int) -> bool:
    """Request the previews that a batch lacks. If it has ended and lacks none, write its gallery again.

    Return False if the batch has ended and has to be searched again: the gallery comes after the previews.
    """
    ledger, has_missing = ctx.service.ledger, False
    for rows in chunked(ledger.items.stream(batch.id), _CHUNK):
        items = {source.item_id for source in maker.missing(batch, rows)}
        ledger.previews.request(batch.id, items, only_new=True)
        has_missing = has_missing or bool(items)
    if batch.status not in BATCH_TERMINAL:
        return True
    if has_missing and attempt < MAX_ATTEMPTS:
        return False
    _write_gallery(ctx, batch)
    return True


def _write_gallery(ctx: Context, batch: BatchRow) -> None:
    """Write the gallery of an ended batch again, with its previews. Raises GalleryNotWritten to repeat it later."""
    ledger = ctx.service.ledger

    def is_current() -> bool:
        now = ledger.batches.get(batch.id)
        return (now.status, now.revision) == (batch.status, batch.revision)

    made = ledger.previews.all_made(batch.id)
    # A batch that was opened again gets its gallery, and a new search, at its next end.
    if made and not write_gallery(ctx, batch, made, is_current) and is_current():
        raise GalleryNotWritten(f"The gallery of batch {batch.id!r} was not written.", retryable=True)
