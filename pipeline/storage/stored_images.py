"""Images on S3: what their bytes are. Their names and content types prove nothing."""

from __future__ import annotations

from pipeline.domain.image_types import SIGNATURE_BYTES, TAIL_BYTES, ImageType, sniff_image
from pipeline.storage.s3 import ObjectInfo, Storage


def sniff_head(storage: Storage, info: ObjectInfo) -> ImageType | str:
    """Return the format of an image, or why it is not accepted, by its first bytes. Raises StorageError."""
    return sniff_image(storage.read_range(info, 0, SIGNATURE_BYTES), size=info.size)


def sniff_object(storage: Storage, info: ObjectInfo) -> ImageType | str:
    """Return what `sniff_head` returns; also find images that are truncated. Raises StorageError."""
    tail = storage.read_range(info, max(0, info.size - TAIL_BYTES), TAIL_BYTES)
    head = tail[:SIGNATURE_BYTES] if info.size <= TAIL_BYTES else storage.read_range(info, 0, SIGNATURE_BYTES)
    return sniff_image(head, tail=tail, size=info.size)
