"""Images, outputs and results of a batch for a browser: redirects to presigned URLs, so that private buckets work.

A page contains only the path of the redirect; the signature is in the redirect's Location. S3 sends each object with
the media type that is named here: under the origin of the bucket a browser never renders HTML.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePosixPath

from flask import Blueprint, redirect, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.batch_items import BatchItems
from pipeline.batches.stored_manifest import MANIFEST
from pipeline.domain.image_types import SIGNATURE_BYTES
from pipeline.domain.media_signatures import sniff_media
from pipeline.domain.media_types import BINARY, is_picture, stored_type
from pipeline.domain.s3_names import is_below
from pipeline.ledger.ledger import Ledger
from pipeline.storage.s3 import Storage, join
from pipeline.triggers.input_images import InputImages
from pipeline.web.dashboard.page_links import query_number

URL_TTL_S = 7200
_PERIOD_S = 1800
"""For so long an object keeps its URL, and then a browser may use a redirect to it: an hour is left to play a video."""
_MAX_URLS = 10_000
_SHOWN = ("image/", "video/", "audio/")
"""Outputs of other media types are only saved."""
FILES = ("results.json", "results.csv", "results.jsonl", MANIFEST)


def blueprint(ledger: Ledger, items: BatchItems, storage: Storage, images: InputImages) -> Blueprint:
    """Return the routes `…/items/{item}/image`, `…/items/{item}/outputs/{n}` and `…/files/{name}` of a batch.

    `?save` makes the browser download an output. `?at`: where the row of the item is, if the batch is archived.
    """
    routes = Blueprint("media", __name__)
    redirect_to = _redirector(storage)

    @routes.get("/batches/<batch_id>/items/<item_id>/image")
    def image(batch_id: str, item_id: str) -> AnyResponse:
        batch = ledger.batches.get(batch_id)
        uri = items.get(batch, item_id, position=_position()).image or ""
        if not uri.startswith("s3://"):
            raise NotFound("This item has no image on S3.")
        media_type = _picture_type(storage, uri) if images.allow(uri, batch) else None
        if media_type is None:
            raise NotFound("The image of this item is not an image below PIPELINE_OUTPUT or PIPELINE_BUCKETS.")
        return redirect_to(uri, media_type)

    @routes.get("/batches/<batch_id>/items/<item_id>/outputs/<int:number>")
    def output(batch_id: str, item_id: str, number: int) -> AnyResponse:
        batch = ledger.batches.get(batch_id)
        outputs = items.get(batch, item_id, position=_position()).outputs
        if number >= len(outputs):
            raise NotFound(f"This item has no output {number}.")
        uri = outputs[number].uri
        if not is_below(uri, (batch.output,)):
            raise NotFound("This output is not in the folder of its batch.")
        name = f"{batch_id}-{item_id}-{number}{PurePosixPath(uri).suffix}"
        # An older version stored outputs with the type that the vendor named.
        media_type = stored_type(outputs[number].content_type).media_type
        is_saved = "save" in request.args or not media_type.startswith(_SHOWN)
        return redirect_to(uri, media_type, save_as=name if is_saved else None)

    @routes.get("/batches/<batch_id>/files/<name>")
    def file(batch_id: str, name: str) -> AnyResponse:
        if name not in FILES:
            raise NotFound(f"A batch has no file of this name. Its files: {', '.join(FILES)}.")
        uri = join(ledger.batches.get(batch_id).output, name)
        if storage.info(uri) is None:
            raise NotFound(f"{name} does not exist yet: it is written when the batch ends.")
        return redirect_to(uri, BINARY, save_as=f"{batch_id}-{name}")

    return routes


def _position() -> int | None:
    return query_number(request.args["at"]) if "at" in request.args else None


def _redirector(storage: Storage) -> Callable[..., AnyResponse]:
    """Return the function that redirects to an object: (URI, media type, *, name to save it as or None)."""

    @lru_cache(_MAX_URLS)
    def presigned(uri: str, media_type: str, save_as: str | None, _period: int) -> str:
        """Return one URL for an object in a period, whichever item it is of, so that a browser loads it once."""
        return storage.presign(
            uri, expires_s=URL_TTL_S, content_type=media_type, save_as=save_as, cache_s=0 if save_as else _PERIOD_S
        )

    def redirect_to(uri: str, media_type: str, *, save_as: str | None = None) -> AnyResponse:
        response = redirect(presigned(uri, media_type, save_as, int(time.time() // _PERIOD_S)), 302)
        response.headers["Cache-Control"] = "no-store" if save_as else f"private, max-age={_PERIOD_S}"
        return response

    return redirect_to


def _picture_type(storage: Storage, uri: str) -> str | None:
    """Return the media type of an image or a video on S3, by its first bytes; None if it is missing or another file."""
    info = storage.info(uri)
    media_type = "" if info is None else sniff_media(storage.read_range(info, 0, SIGNATURE_BYTES))
    return media_type if is_picture(media_type) else None
