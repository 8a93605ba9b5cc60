"""Images on S3 as files for the vendor: streamed, never whole in memory."""

from __future__ import annotations

from pathlib import PurePosixPath

from pipeline.domain.image_types import SIGNATURE_BYTES, is_html
from pipeline.domain.media_signatures import TEXT_PLAIN, sniff_media
from pipeline.domain.media_types import BINARY, media_type_of, output_type
from pipeline.errors import StorageError
from pipeline.storage.s3 import Storage
from pipeline.wiro.client import FileSource


def stored_image(storage: Storage, uri: str) -> FileSource:
    """Return the object at `uri` as a file to upload. Raises StorageError if it is missing, empty, or not
    the file that its name says.

    Its bytes decide the content type and the ending of its name. If they are of no known format, the model may take
    other files: the object's own content type is sent.
    """
    info = storage.info(uri)
    if info is None:
        raise StorageError(f"There is no image at {uri}.", retryable=False)
    if info.size == 0:
        raise StorageError(f"The image at {uri} is empty.", retryable=False)
    path, head = PurePosixPath(uri), storage.read_range(info, 0, SIGNATURE_BYTES)
    stored = output_type(head, media_type_of(path.name) or info.content_type)
    if isinstance(stored, str) or is_html(head):
        found = "is an HTML page" if is_html(head) else stored
        raise StorageError(f"The image at {uri} {found}. Replace it by the image itself.", retryable=False)
    is_named_so = stored.media_type == BINARY or media_type_of(path.name) == stored.media_type
    media_type = sniff_media(head)
    return FileSource(
        name=path.name if is_named_so else path.stem + stored.suffix,
        content_type=info.content_type if media_type in ("", TEXT_PLAIN) else media_type,
        size=info.size,
        open=lambda: storage.open(uri),
    )
