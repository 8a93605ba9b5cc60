"""Images on S3 as files for the vendor: streamed, never whole in memory."""

from __future__ import annotations

from pathlib import PurePosixPath

from pipeline.domain.image_types import (
    IMAGE_TYPES,
    NOT_AN_IMAGE,
    SIGNATURE_BYTES,
    TAIL_BYTES,
    is_html,
    sniff_image,
)
from pipeline.domain.media_signatures import JSON, MARKUP, is_format, sniff_media
from pipeline.domain.media_types import UNKNOWN_SUFFIX, StoredType, media_type_of, output_type
from pipeline.errors import StorageError
from pipeline.storage.s3 import ObjectInfo, Storage
from pipeline.wiro.client import FileSource


def stored_image(storage: Storage, uri: str) -> FileSource:
    """Return the object at `uri` as a file to upload. Raises StorageError if it is missing or empty, or a
    document in its place.

    Its bytes decide the content type and the ending of its name. If they are of no known format, the model may take
    other files: the object's own content type is sent, unless that is the type of an image.
    """
    info = storage.confirmed_info(uri)
    if info is None:
        raise StorageError(f"There is no image at {uri}.", retryable=False)
    if info.size == 0:
        raise StorageError(f"The image at {uri} is empty.", retryable=False)
    path, head = PurePosixPath(uri), storage.read_range(info, 0, SIGNATURE_BYTES)
    found, stored = sniff_media(head), output_type(head, _announced(path, info), names=[path.name])
    if reason := _reason_to_refuse(storage, info, head, stored):
        raise StorageError(f"The image at {uri} {reason}. Replace it by the image itself.", retryable=False)
    return FileSource(
        name=path.name if isinstance(stored, str) else _name(path, stored),
        content_type=found if is_format(found) else info.content_type,
        size=info.size,
        open=lambda: storage.open(uri),
    )


def _announced(path: PurePosixPath, info: ObjectInfo) -> str:
    return media_type_of(path.name) or info.content_type


def _reason_to_refuse(storage: Storage, info: ObjectInfo, head: bytes, stored: StoredType | str) -> str | None:
    """Return why no model can take a file, as the end of a sentence: a run with it would only be paid."""
    found, tail = sniff_media(head), storage.read_range(info, max(0, info.size - TAIL_BYTES), TAIL_BYTES)
    image = sniff_image(head, tail=tail, size=info.size)
    if not isinstance(image, str):
        return None
    if is_format(found):
        # Of an image that models take, something is missing. Another format may be what the model takes.
        return image if found in IMAGE_TYPES.values() else None
    if found not in (MARKUP, JSON):
        # What only is unknown, and claims to be no image, may be what the model takes.
        return image if image != NOT_AN_IMAGE or info.content_type in IMAGE_TYPES.values() else None
    if is_html(head) or (isinstance(stored, str) and image != NOT_AN_IMAGE):
        return image
    return stored if isinstance(stored, str) else None


def _name(path: PurePosixPath, stored: StoredType) -> str:
    """Return the name of an object, with the ending of what it is."""
    is_right = stored.suffix in (UNKNOWN_SUFFIX, path.suffix.lower()) or stored.media_type == media_type_of(path.name)
    return path.name if is_right else path.stem + stored.suffix
