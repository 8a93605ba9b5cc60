"""Pictures sent by a browser: stored once under `{output}inputs/`, so that a manifest can name them."""

from __future__ import annotations

import hashlib
import tempfile
from typing import IO

from flask import Response, request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from pipeline.batches.service import Service
from pipeline.batches.submission import INPUTS
from pipeline.domain.image_types import SIGNATURE_BYTES, image_suffix, image_type
from pipeline.errors import InvalidSettings
from pipeline.storage.s3 import join
from pipeline.web.api.endpoints import Endpoints, answer
from pipeline.web.api.schemas import UploadedImage

MAX_INPUT_BYTES = 25 * 1024 * 1024
_PIECE = 64 * 1024
_IN_MEMORY = 1024 * 1024
_BODY = {
    "required": True,
    "description": "The picture: JPEG, PNG, WebP, GIF, BMP or AVIF, told by its content.",
    "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
}


def add_to(endpoints: Endpoints, service: Service) -> None:
    """Add `POST /api/v1/inputs`."""

    @endpoints.add(
        "POST",
        "/api/v1/inputs",
        answers={201: UploadedImage, 200: UploadedImage},
        errors=(400, 413, 415, 502),
        raw_body=_BODY,
    )
    def store_input() -> Response:
        """Store a picture, at most 25 MB, and tell its address. 200 when it is there already."""
        request.max_content_length = MAX_INPUT_BYTES
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            digest, size, head = _receive(file)
            content_type, suffix = _kind(head)
            uri = join(_output(service), INPUTS, f"{digest}{suffix}")
            is_new = service.storage.info(uri) is None
            if is_new:
                file.seek(0)
                service.storage.put_stream(uri, file, content_type)
        stored = UploadedImage(uri=uri, content_type=content_type, size=size, sha256=digest)
        return answer(stored, 201 if is_new else 200)


def _receive(file: IO[bytes]) -> tuple[str, int, bytes]:
    """The body, written to `file`: its SHA-256, its size, its first bytes."""
    digest, size, head = hashlib.sha256(), 0, b""
    while piece := request.stream.read(_PIECE):
        head = head or piece[:SIGNATURE_BYTES]
        digest.update(piece)
        size += len(piece)
        file.write(piece)
    if request.content_length is not None and size != request.content_length:
        raise BadRequest("The picture did not come whole.")
    return digest.hexdigest(), size, head


def _kind(head: bytes) -> tuple[str, str]:
    """Return content type and file ending of an image that begins with `head`. Raises UnsupportedMediaType."""
    suffix = image_suffix(head)
    if suffix is None:
        raise UnsupportedMediaType("This is no picture: JPEG, PNG, WebP, GIF, BMP and AVIF are taken.")
    return image_type(suffix), suffix


def _output(service: Service) -> str:
    if service.settings.output is None:
        raise InvalidSettings("No place for pictures: set PIPELINE_OUTPUT=s3://bucket/prefix/.")
    return service.settings.output
