"""`start`: a batch that was taken in may run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import structlog

from jobs.context import Context, context
from jobs.input_files import stored_image
from jobs.submit import submit_due
from pipeline.domain.retry_policy import Tolerance
from pipeline.domain.states import BatchState, Stop
from pipeline.errors import DailiesError, StorageError
from pipeline.ledger.records import BatchConfig
from pipeline.wiro.errors import WiroError

log = structlog.get_logger()


def start(batch_id: str) -> None:
    """Make ready what the runs of a batch share and let it run. Doing it twice changes nothing."""
    ctx = context()
    ctx.job_queue.clear_pending("start", batch_id)
    if not ctx.ledger.batches.is_accepted(batch_id):
        return
    shared = ctx.ledger.batches.config(batch_id)
    _upload_shared_images(ctx, batch_id)
    row = ctx.ledger.batches.get(batch_id)
    tolerance = Tolerance.of(shared.tolerated_failures, row.total)
    ctx.ledger.batches.start(batch_id, price_usd=_price(ctx, shared), max_failures=tolerance.limit)
    log.info("batch_started", batch=batch_id, items=row.total)
    if ctx.ledger.batches.get(batch_id).status == BatchState.CANCELLING:
        ctx.service.control.cancel_pending(batch_id, row.reason or Stop.BY_HAND)
    else:
        # The same hands go on: another job would only cost its start.
        submit_due(ctx)


def _upload_shared_images(ctx: Context, batch_id: str) -> None:
    """An image of ours that several items use goes to the vendor once and is then passed by URL.

    Where that fails each item sends the image itself.
    """
    shared = [image for image, url in ctx.ledger.shared_images.urls(batch_id).items() if not url]
    if not shared:
        return
    try:
        folder = ctx.wiro.create_folder(batch_id.replace(".", "-"))
        with ThreadPoolExecutor(8) as pool:
            urls = pool.map(lambda image: ctx.wiro.upload(stored_image(ctx.storage, image), folder), shared)
            for image, url in zip(shared, urls, strict=True):
                ctx.ledger.shared_images.record_url(batch_id, image, url)
    except (WiroError, StorageError) as error:
        log.warning("shared_images_not_uploaded", batch=batch_id, error=str(error))


def _price(ctx: Context, shared: BatchConfig) -> Decimal:
    """What one run costs, 0 when it is not known; only a budget needs it."""
    if not shared.budgeted:
        return Decimal(0)
    try:
        return ctx.wiro.model_schema(shared.model).per_run_usd or Decimal(0)
    except DailiesError as error:
        log.warning("price_unknown", model=shared.model, error=str(error))
        return Decimal(0)
