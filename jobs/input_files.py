"""Images on S3 as files for the vendor: streamed, never whole in memory."""

from __future__ import annotations

from pathlib import PurePosixPath

from pipeline.domain.image_types import SIGNATURE_BYTES, is_html
from pipeline.domain.media_signatures import JSON, MARKUP, TEXT_PLAIN, sniff_media
from pipeline.domain.media_types import BINARY, StoredType, media_type_of, output_type
from pipeline.errors import StorageError
from pipeline.storage.s3 import Storage
from pipeline.wiro.client import FileSource


def stored_image(storage: Storage, uri: str) -> FileSource:
    """Return the object at `uri` as a file to upload. Raises StorageError if it is missing or empty, or a
    document in its place.

    Its bytes decide the content type and the ending of its name. If they are of no known format, the model may take
    other files: the object's own content type is sent.
    """
    info = storage.confirmed_info(uri)
    if info is None:
        raise StorageError(f"There is no image at {uri}.", retryable=False)
    if info.size == 0:
        raise StorageError(f"The image at {uri} is empty.", retryable=False)
    path, head = PurePosixPath(uri), storage.read_range(info, 0, SIGNATURE_BYTES)
    found, stored = sniff_media(head), output_type(head, media_type_of(path.name) or info.content_type)
    if is_html(head):
        raise StorageError(f"The image at {uri} is an HTML page. Replace it by the image itself.", retryable=False)
    if isinstance(stored, str) and found in (MARKUP, JSON):
        raise StorageError(f"The image at {uri} {stored}. Replace it by the image itself.", retryable=False)
    return FileSource(
        name=path.name if isinstance(stored, str) else _name(path, stored),
        content_type=info.content_type if found in ("", TEXT_PLAIN) else found,
        size=info.size,
        open=lambda: storage.open(uri),
    )


def _name(path: PurePosixPath, stored: StoredType) -> str:
    """Return the name of an object, with the ending of what it is."""
    return path.name if stored.media_type in (BINARY, media_type_of(path.name)) else path.stem + stored.suffix
