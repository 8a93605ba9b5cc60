"""The `start` job: starts a batch that was accepted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import structlog

from jobs.context import Context, context
from jobs.input_files import stored_image
from jobs.reuse import reuse_pending
from jobs.submit import submit_pending
from pipeline.batches.job_queue import Job
from pipeline.batches.pricing import start_price
from pipeline.domain.retry_policy import Tolerance
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.errors import DailiesError, Unreachable

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
    row = batches.get(batch_id)
    if config.reuse and row.status == BatchState.QUEUED:
        reuse_pending(ctx, batch_id)
        row = batches.get(batch_id)
    if row.counts.get(ItemState.PENDING):
        _upload_shared_images(ctx, batch_id)
    tolerance = Tolerance.of(config.tolerated_failures, row.total)
    price_usd = start_price(config, ctx.service.models, ctx.service.settings)
    batches.start(batch_id, price_usd=price_usd, max_failures=tolerance.limit)
    log.info("batch_started", batch=batch_id, items=row.total)
    if batches.get(batch_id).status == BatchState.CANCELLING:
        ctx.service.control.cancel_pending(batch_id, row.reason or Stop.BY_HAND)
    else:
        # In this job: another one would only add its start to the latency of the batch.
        submit_pending(ctx)
    if batches.has_ended(batch_id):
        # All outputs were reused, and copied before the batch ran.
        ctx.service.job_queue.enqueue_once(Job.FINISH, batch_id)
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
            shared_images.record_url(batch_id, image, *_upload(ctx, image, folder))
        except Unreachable:
            raise
        except Exception as error:
            _log_failure(batch_id, error)

    with ThreadPoolExecutor(_MAX_CONCURRENT_UPLOADS) as pool:
        list(pool.map(upload, missing))


def _upload(ctx: Context, image: str, folder: str) -> tuple[str, str | None]:
    """Upload an image on S3 to the vendor. Return its URL there, and which version of the object it is."""
    info = ctx.service.storage.confirmed_info(image)
    return ctx.wiro.upload(stored_image(ctx.service.storage, image), folder), info.etag if info else None


def _log_failure(batch_id: str, error: Exception) -> None:
    """Log why an image is not shared. An unforeseen exception would fail the job, and all others after it, too."""
    log.warning(
        "shared_images_not_uploaded",
        batch=batch_id,
        error=str(error) if isinstance(error, DailiesError) else f"{type(error).__name__}: {error}",
    )
