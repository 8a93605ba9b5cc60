"""Image upload: an image is stored once under `{output}inputs/`, so that a manifest can refer to it."""

from __future__ import annotations

import hashlib
import tempfile
from typing import IO

from flask import Response, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from pipeline.batches.service import Service
from pipeline.batches.stored_manifest import INPUTS
from pipeline.domain.image_types import ImageType, sniff_file
from pipeline.errors import InvalidSettings
from pipeline.storage.s3 import Storage, join
from pipeline.web.api import heic_images
from pipeline.web.api.endpoints import Endpoints, json_response
from pipeline.web.api.schemas import UploadedImage

MAX_IMAGE_MB = 25
_MAX_IMAGE_BYTES = MAX_IMAGE_MB * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_MAX_MEMORY_BYTES = 1024 * 1024
_BODY = {
    "required": True,
    "description": "A JPEG, PNG, WebP, GIF, BMP or AVIF image. Its content decides the type. "
    "HEIC is stored as JPEG where pillow-heif is installed.",
    "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
}


def add_to(endpoints: Endpoints, service: Service) -> None:
    """Add `POST /api/v1/inputs`."""
    _add_upload(endpoints, service.storage, service.settings.output)


def _add_upload(endpoints: Endpoints, storage: Storage, output: str | None) -> None:
    @endpoints.add(
        "POST",
        "/api/v1/inputs",
        responses={201: UploadedImage, 200: UploadedImage},
        errors=(400, 413, 415, 502),
        raw_body=_BODY,
    )
    def store_input() -> Response:
        """Store an image of at most 25 MB and return its URI. 200 if the image is stored already."""
        with _temporary_file() as received, _temporary_file() as converted:
            digest, size = _receive(received)
            file = received
            if heic_images.can_convert(received):
                heic_images.convert(received, converted)
                file, size = converted, converted.tell()
                converted.seek(0)
                digest = hashlib.file_digest(converted, "sha256").hexdigest()
            image = _image_type(file)
            if output is None:
                raise InvalidSettings("PIPELINE_OUTPUT is not set. Set PIPELINE_OUTPUT=s3://bucket/prefix/.")
            uri = join(output, INPUTS, f"{digest}{image.suffix}")
            is_new = storage.info(uri) is None
            if is_new:
                file.seek(0)
                storage.put_stream(uri, file, image.media_type)
        document = UploadedImage(uri=uri, content_type=image.media_type, size=size, sha256=digest)
        return json_response(document, 201 if is_new else 200)


def _temporary_file() -> tempfile.SpooledTemporaryFile[bytes]:
    return tempfile.SpooledTemporaryFile(_MAX_MEMORY_BYTES)


def _receive(file: IO[bytes]) -> tuple[str, int]:
    """Write the request's body to `file`. Return its SHA-256 and its size in bytes."""
    digest, size = hashlib.sha256(), 0
    request.max_content_length = _MAX_IMAGE_BYTES
    try:
        while chunk := request.stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge(
            f"An image can have at most {MAX_IMAGE_MB} MB. Make it smaller, or put it on S3 and write its address."
        ) from None
    if request.content_length is not None and size != request.content_length:
        raise BadRequest(f"The body has {size} of {request.content_length} bytes. Send the image again.")
    return digest.hexdigest(), size


def _image_type(file: IO[bytes]) -> ImageType:
    """Return the type of the image in `file`. Raises UnsupportedMediaType."""
    image = sniff_file(file)
    if isinstance(image, str):
        raise UnsupportedMediaType(f"The body {image}. Send a JPEG, PNG, WebP, GIF, BMP or AVIF image.")
    return image
