"""The images of a batch are stored in its folder on S3: the folder is then complete."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pipeline.batches.stored_manifest import INPUTS
from pipeline.domain.image_types import sniff_file
from pipeline.domain.model import Item
from pipeline.errors import CannotRead
from pipeline.storage.s3 import Storage, join


def with_stored_images(
    items: Iterable[Item], storage: Storage, output: str, *, folder: Path | None, uploads: str | None
) -> tuple[Item, ...]:
    """Store the images of a batch and return its items with their URIs. Images at other places keep theirs.

    `output`: the folder of the batch. `folder`: that of image files. `uploads`: that of images uploaded before, from
    where they are copied. What is stored already is not stored again. Raises CannotRead, StorageError.
    """
    uris: dict[str, str] = {}
    for item in items:
        if item.image is not None and item.image not in uris:
            uris[item.image] = _store(storage, item.image, output, folder, uploads)
    return tuple(replace(item, image=uris[item.image]) if item.image is not None else item for item in items)


def _store(storage: Storage, image: str, output: str, folder: Path | None, uploads: str | None) -> str:
    if "://" not in image:
        return _store_file(storage, folder / image, output) if folder else image
    if uploads is None or not image.startswith(uploads):
        return image
    uri = join(output, INPUTS, image.removeprefix(uploads))
    return uri if storage.info(uri) or storage.copy(image, uri) else image


def _store_file(storage: Storage, file: Path, output: str) -> str:
    with file.open("rb") as source:
        image = sniff_file(source)
        if isinstance(image, str):
            # It has changed since the manifest was validated.
            raise CannotRead(f"{file} {image}.")
        source.seek(0)
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        uri = join(output, INPUTS, f"{digest}{image.suffix}")
        if storage.info(uri) is None:
            source.seek(0)
            storage.put_stream(uri, source, image.media_type)
    return uri
