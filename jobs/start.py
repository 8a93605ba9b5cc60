"""`start`: an accepted manifest becomes items on the ledger."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import structlog

from jobs.context import Context, context
from jobs.inputs import stored_image
from pipeline import manifest as manifests
from pipeline.errors import DailiesError, StorageError
from pipeline.model import Manifest
from pipeline.policy import Tolerance
from pipeline.service import MANIFEST
from pipeline.states import BatchState, Stop
from pipeline.storage import join
from pipeline.wiro_errors import WiroError

log = structlog.get_logger()


def start(batch_id: str) -> None:
    """Load the items of a batch and let it run. Doing it twice changes nothing."""
    ctx = context()
    ctx.waker.begun("start", batch_id)
    if not ctx.ledger.is_accepted(batch_id):
        return
    manifest = _accepted_manifest(ctx, batch_id)
    ctx.ledger.load_items(
        batch_id,
        ((item.id, {"image": item.image, "prompt": item.prompt, "params": item.params}) for item in manifest.items),
    )
    _upload_shared_images(ctx, batch_id, manifest)
    tolerance = Tolerance.of(manifest.limits.tolerated_failures, len(manifest.items))
    ctx.ledger.start_batch(batch_id, price_usd=_price(ctx, manifest.model), most_failures=tolerance.most)
    log.info("batch_started", batch=batch_id, items=len(manifest.items))
    row = ctx.ledger.batch(batch_id)
    if row.status == BatchState.CANCELLING:
        ctx.service.settle(batch_id, row.reason or Stop.BY_HAND)
    else:
        ctx.waker.wake("submit")


def _accepted_manifest(ctx: Context, batch_id: str) -> Manifest:
    uri = join(ctx.ledger.plan(batch_id).output, MANIFEST)
    text = ctx.storage.get(uri)
    if text is None:
        raise StorageError(f"{uri} is gone: batch {batch_id!r} cannot start.", retryable=False)
    return manifests.parse(text, file=uri, read_rows=_no_rows, local_files=None)


def _no_rows(reference: str) -> bytes:
    raise FileNotFoundError(f"{reference}: an accepted manifest names no rows")


def _upload_shared_images(ctx: Context, batch_id: str, manifest: Manifest) -> None:
    """An image of ours that several items use goes to the vendor once and is then passed by URL.

    Where that fails each item sends the image itself.
    """
    uses = Counter(item.image for item in manifest.items if item.image and item.image.startswith("s3://"))
    known = ctx.ledger.uploads(batch_id)
    shared = [image for image, count in uses.items() if count > 1 and image not in known]
    if not shared:
        return
    try:
        folder = ctx.wiro.create_folder(_folder_name(batch_id))
        with ThreadPoolExecutor(8) as pool:
            urls = pool.map(lambda image: ctx.wiro.upload(stored_image(ctx.storage, image), folder), shared)
            for image, url in zip(shared, urls, strict=True):
                ctx.ledger.note_upload(batch_id, image, url)
    except (WiroError, StorageError) as error:
        log.warning("shared_images_not_uploaded", batch=batch_id, error=str(error))


def _folder_name(batch_id: str) -> str:
    return batch_id.replace(".", "-")


def _price(ctx: Context, model: str) -> Decimal:
    try:
        return ctx.wiro.tool(model).per_run_usd or Decimal(0)
    except DailiesError as error:
        log.warning("price_unknown", model=model, error=str(error))
        return Decimal(0)
