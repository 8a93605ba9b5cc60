"""Images on S3 as files for the vendor: streamed, never whole in memory."""

from __future__ import annotations

from pathlib import PurePosixPath

from pipeline.domain.image_types import SIGNATURE_BYTES, ImageType, is_html, sniff_image
from pipeline.errors import StorageError
from pipeline.storage.s3 import Storage
from pipeline.wiro.client import FileSource


def stored_image(storage: Storage, uri: str) -> FileSource:
    """Return the object at `uri` as a file to upload. Raises StorageError if it is missing, empty or an HTML page.

    Its bytes decide the content type. If they are of no known image, the model may take other files: the object's own
    content type is sent.
    """
    info = storage.confirmed_info(uri)
    if info is None:
        raise StorageError(f"There is no image at {uri}.", retryable=False)
    if info.size == 0:
        raise StorageError(f"The image at {uri} is empty.", retryable=False)
    head = storage.read_range(info, 0, SIGNATURE_BYTES)
    if is_html(head):
        raise StorageError(f"The image at {uri} is an HTML page. Replace it by the image itself.", retryable=False)
    image = sniff_image(head)
    content_type = image.media_type if isinstance(image, ImageType) else info.content_type
    return FileSource(
        name=PurePosixPath(uri).name, content_type=content_type, size=info.size, open=lambda: storage.open(uri)
    )
