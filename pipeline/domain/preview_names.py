"""The names of previews: the small pictures that pages show in place of images, and before a video plays. Pure.

A name depends only on the content, so items with the same image share one preview, and browsers keep it for good.
"""

from __future__ import annotations

import hashlib
import re

from pipeline.domain.media_types import is_picture
from pipeline.domain.model import ItemRow, Output

FOLDER = "previews/"
"""Below the folder of the batch."""
MEDIA_TYPE = "image/webp"
MAX_BYTES = 30_000
MAX_SIDE = 480
"""Pixels of the longer side."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[0-9a-f]{32}\.webp")


def image_preview(uri: str) -> str:
    """Return the name of the preview of an item's image."""
    return _name(uri)


def output_preview(output: Output) -> str | None:
    """Return the name of the preview of an output; None if it is neither an image nor a video."""
    if not is_picture(output.content_type):
        return None
    return _name(output.sha256 if _SHA256.fullmatch(output.sha256) else output.uri)


def previews_of(row: ItemRow) -> list[str]:
    """Return the names of all previews that an item can have."""
    images = [image_preview(row.image)] if row.image else []
    return [*images, *(name for output in row.outputs if (name := output_preview(output)))]


def is_preview(name: str) -> bool:
    """Return whether `name` can be the name of a preview."""
    return _NAME.fullmatch(name) is not None


def _name(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:32] + ".webp"
