"""Images, outputs and results of a batch for a browser: redirects to presigned URLs, so that private buckets work.

A page contains only the path of the redirect; the signature is in the redirect's Location.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from flask import Blueprint, redirect, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.submission import MANIFEST
from pipeline.ledger.ledger import Ledger
from pipeline.storage.s3 import Storage, join

URL_TTL_S = 3600
_REDIRECT_MAX_AGE_S = 1800
"""How long a browser caches a redirect: half the URL's life, so that a video can be played to its end."""
FILES = ("results.json", "results.csv", "results.jsonl", MANIFEST)


def blueprint(ledger: Ledger, storage: Storage) -> Blueprint:
    """Return the routes `…/items/{item}/image`, `…/items/{item}/outputs/{n}` and `…/files/{name}` of a batch.

    `?save` makes the browser download an output.
    """
    routes = Blueprint("media", __name__)

    @routes.get("/batches/<batch_id>/items/<item_id>/image")
    def image(batch_id: str, item_id: str) -> AnyResponse:
        uri = ledger.items.get(batch_id, item_id).image or ""
        if not uri.startswith("s3://"):
            raise NotFound("This item has no image on S3.")
        return _redirect(uri)

    @routes.get("/batches/<batch_id>/items/<item_id>/outputs/<int:number>")
    def output(batch_id: str, item_id: str, number: int) -> AnyResponse:
        outputs = ledger.items.get(batch_id, item_id).outputs
        if number >= len(outputs):
            raise NotFound(f"This item has no output {number}.")
        uri = outputs[number].uri
        name = f"{batch_id}-{item_id}-{number}{PurePosixPath(uri).suffix}"
        return _redirect(uri, save_as=name if "save" in request.args else None)

    @routes.get("/batches/<batch_id>/files/<name>")
    def file(batch_id: str, name: str) -> AnyResponse:
        if name not in FILES:
            raise NotFound(f"A batch has no file of this name. Its files: {', '.join(FILES)}.")
        uri = join(ledger.batches.get(batch_id).output, name)
        if storage.info(uri) is None:
            raise NotFound(f"{name} does not exist yet: it is written when the batch ends.")
        return _redirect(uri, save_as=f"{batch_id}-{name}")

    def _redirect(uri: str, *, save_as: str | None = None) -> AnyResponse:
        response = redirect(storage.presign(uri, expires_s=URL_TTL_S, save_as=save_as), 302)
        response.headers["Cache-Control"] = "no-store" if save_as else f"private, max-age={_REDIRECT_MAX_AGE_S}"
        return response

    return routes
