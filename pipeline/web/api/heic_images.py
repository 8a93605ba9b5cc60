"""HEIC images become JPEG where pillow-heif is installed (requirements-local.txt): the vendor takes no HEIC."""

from __future__ import annotations

import importlib.util
import threading
from typing import IO

from werkzeug.exceptions import ServiceUnavailable, UnsupportedMediaType

from pipeline.domain.image_types import SIGNATURE_BYTES, is_heic

MAX_PIXELS = 50_000_000
"""Phones make images of 48 megapixels. A decoded image takes three bytes a pixel."""
_QUALITY = 92
_WAIT_S = 30.0
_decoder = threading.Lock()
"""One image is decoded at a time, so that memory is bounded."""


def can_convert(file: IO[bytes]) -> bool:
    """Return whether a file is a HEIC image, and the library is installed. The position of the file changes."""
    file.seek(0)
    return is_heic(file.read(SIGNATURE_BYTES)) and importlib.util.find_spec("pillow_heif") is not None


def convert(file: IO[bytes], jpeg: IO[bytes]) -> None:
    """Write a HEIC image as JPEG, upright and without its metadata, which may hold a place.

    Raises UnsupportedMediaType, ServiceUnavailable.
    """
    if not _decoder.acquire(timeout=_WAIT_S):
        raise ServiceUnavailable("Other HEIC images are converted. Send the image again.")
    try:
        _convert(file, jpeg)
    finally:
        _decoder.release()


def _convert(file: IO[bytes], jpeg: IO[bytes]) -> None:
    import pillow_heif

    file.seek(0)
    try:
        # Only the header is read here.
        image = pillow_heif.open_heif(file)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise UnsupportedMediaType(
                f"The HEIC image has {width * height:,} pixels. At most {MAX_PIXELS:,} are converted: send a JPEG."
            )
        image.to_pillow().convert("RGB").save(jpeg, "JPEG", quality=_QUALITY, icc_profile=image.info.get("icc_profile"))
    except (ValueError, OSError, EOFError, RuntimeError, SyntaxError) as error:
        raise UnsupportedMediaType(f"The HEIC image cannot be read: {error}. Send a JPEG.") from None
