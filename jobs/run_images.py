"""The image of a run: a URL, or a file to send."""

from __future__ import annotations

from jobs.context import Context
from jobs.input_files import stored_image
from pipeline.wiro.client import FileSource, ImageField, RunImage
from pipeline.wiro.errors import NoResponse, VendorFault
from pipeline.wiro.model_schema import URL_KIND


def run_image(ctx: Context, batch_id: str, image: str, field: ImageField) -> RunImage:
    """Return an image of a batch for `field`. `image`: its URL or its address on S3.

    An image on S3 that was uploaded for the whole batch is its URL at the vendor, any other one a file. It is uploaded
    first if the field takes only a URL. Raises StorageError, WiroError: nothing is posted.
    """
    if not image.startswith("s3://"):
        return RunImage(field, image, None)
    if url := ctx.service.ledger.shared_images.url(batch_id, image):
        return RunImage(field, url, None)
    file = stored_image(ctx.service.storage, image)
    return RunImage(field, _upload(ctx, file), None) if field.kind == URL_KIND else RunImage(field, None, file)


def _upload(ctx: Context, file: FileSource) -> str:
    try:
        return ctx.wiro.upload(file)
    except NoResponse as error:
        # A run that may have been accepted would not be posted again: this one was not posted.
        raise VendorFault(str(error)) from None
