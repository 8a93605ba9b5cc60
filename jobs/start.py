"""The `start` job: starts a batch that was accepted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import structlog

from jobs.context import Context, context
from jobs.input_files import stored_image
from jobs.submit import submit_pending
from pipeline.batches.job_queue import Job
from pipeline.batches.pricing import price_of_run
from pipeline.domain.retry_policy import Tolerance
from pipeline.domain.states import BatchState, Stop
from pipeline.errors import DailiesError, Unreachable
from pipeline.ledger.records import BatchConfig

_MAX_CONCURRENT_UPLOADS = 8

log = structlog.get_logger()


def start(batch_id: str) -> None:
    """Prepare what the runs of a batch share, and start the batch. A second call changes nothing."""
    ctx = context()
    ctx.service.job_queue.clear_pending(Job.START, batch_id)
    batches = ctx.service.ledger.batches
    if not batches.is_accepted(batch_id):
        return
    config = batches.config(batch_id)
    _upload_shared_images(ctx, batch_id)
    row = batches.get(batch_id)
    tolerance = Tolerance.of(config.tolerated_failures, row.total)
    batches.start(batch_id, price_usd=_price(ctx, config), max_failures=tolerance.limit)
    log.info("batch_started", batch=batch_id, items=row.total)
    if batches.get(batch_id).status == BatchState.CANCELLING:
        ctx.service.control.cancel_pending(batch_id, row.reason or Stop.BY_HAND)
    else:
        # In this job: another one would only add its start to the latency of the batch.
        submit_pending(ctx)
    # Pages need the thumbnails of the images before the first item ends.
    ctx.service.previews.request(batch_id)


def _upload_shared_images(ctx: Context, batch_id: str) -> None:
    """Upload each image on S3 that several items use to the vendor once; their runs pass its URL.

    If that fails, each run uploads the image itself.
    """
    shared_images = ctx.service.ledger.shared_images
    missing = [image for image, url in shared_images.urls(batch_id).items() if not url]
    if not missing:
        return
    try:
        folder = ctx.wiro.create_folder(batch_id.replace(".", "-"))
    except Unreachable:
        raise
    except Exception as error:
        _log_failure(batch_id, error)
        return

    def upload(image: str) -> None:
        try:
            shared_images.record_url(batch_id, image, ctx.wiro.upload(stored_image(ctx.service.storage, image), folder))
        except Unreachable:
            raise
        except Exception as error:
            _log_failure(batch_id, error)

    with ThreadPoolExecutor(_MAX_CONCURRENT_UPLOADS) as pool:
        list(pool.map(upload, missing))


def _log_failure(batch_id: str, error: Exception) -> None:
    """Log why an image is not shared. An unforeseen exception would fail the job, and all others after it, too."""
    log.warning(
        "shared_images_not_uploaded",
        batch=batch_id,
        error=str(error) if isinstance(error, DailiesError) else f"{type(error).__name__}: {error}",
    )


def _price(ctx: Context, config: BatchConfig) -> Decimal:
    """Return the price of one run in US dollars, 0 if it is unknown. Only budgets and ceilings need it."""
    settings = ctx.service.settings
    if not config.budgeted and settings.max_batch_usd is None and settings.max_day_usd is None:
        return Decimal(0)
    price = price_of_run(config, ctx.service.models)
    if price is None:
        log.warning("price_unknown", model=config.model)
    return price or Decimal(0)
