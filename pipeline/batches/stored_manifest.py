"""The accepted manifest of a batch on S3, and whether another manifest is the same batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.domain.model import Item, Manifest
from pipeline.errors import DailiesError
from pipeline.manifest import parser as manifests
from pipeline.manifest.difference import difference
from pipeline.storage.s3 import Storage, join

MANIFEST = "manifest.yaml"
INPUTS = "inputs/"
"""Folder of uploaded images: one in each batch, and one beside the batches for images uploaded before."""


def stored_manifest(storage: Storage, folder: str) -> Manifest | None:
    """Return the manifest of the batch in `folder`; None if there is none. Raises InvalidManifest, StorageError."""
    uri = join(folder, MANIFEST)
    text = storage.get(uri)
    return None if text is None else parse_stored(text, uri)


def parse_stored(text: bytes, uri: str) -> Manifest:
    """Return an accepted manifest. Raises InvalidManifest."""
    return manifests.parse(text, file=uri, read_rows=_refuse_rows, local_files=None, is_accepted=True)


def content_difference(stored: Manifest, fitted: Manifest, folder: Path | None) -> str:
    """Return what differs between a manifest on S3 and one as its runs would be posted, '' if nothing does.

    `folder`: the folder of image files. No image is stored.
    """
    images = {item.id: item.image for item in stored.items}
    items = tuple(replace(item, image=_same_image(item, images.get(item.id), folder)) for item in fitted.items)
    return difference(stored, replace(fitted, items=items))


def has_same_items(text: bytes, uri: str, items: Sequence[Item]) -> bool:
    """Return whether the manifest in `text` has these items. Their params may be fitted differently."""
    try:
        other = parse_stored(text, uri)
    except DailiesError:
        return False
    return [(item.id, item.prompt) for item in other.items] == [(item.id, item.prompt) for item in items]


def _refuse_rows(reference: str) -> bytes:
    raise DailiesError(f"{reference}: An accepted manifest must not name a file of rows. Correct manifest.yaml on S3.")


def _same_image(item: Item, stored: str | None, folder: Path | None) -> str | None:
    """Return `stored` if it is a copy of the item's image, else the image. A copy is named after its content."""
    if item.image is None or stored is None or f"/{INPUTS}" not in stored:
        return item.image
    name = PurePosixPath(stored)
    if "://" in item.image:
        return stored if PurePosixPath(item.image).name == name.name else item.image
    file = folder / item.image if folder else None
    if file is None or not file.is_file():
        return item.image
    with file.open("rb") as source:
        return stored if hashlib.file_digest(source, "sha256").hexdigest() == name.stem else item.image
