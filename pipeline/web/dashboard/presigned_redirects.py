"""Pictures, videos and results of a batch for a browser: presigned URLs, so that private buckets work.

A page names an item's file by its place; only the answer to that, a redirect, holds a signature.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from flask import Blueprint, redirect, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.service import Service
from pipeline.batches.submission import MANIFEST
from pipeline.storage.s3 import join

URL_TTL_S = 3600
_KEPT_S = 1800
"""How long a browser may use the same redirect again: shorter than the URL lasts, so that a film can be seen whole."""
FILES = ("results.json", "results.csv", "results.jsonl", MANIFEST)


def blueprint(service: Service) -> Blueprint:
    """`GET /batches/{id}/items/{item}/picture`, `…/outputs/{n}` (`?save` to keep it), `/batches/{id}/files/{name}`."""
    routes = Blueprint("media", __name__)
    ledger = service.ledger

    @routes.get("/batches/<batch_id>/items/<item_id>/picture")
    def picture(batch_id: str, item_id: str) -> AnyResponse:
        image = ledger.items.get(batch_id, item_id).image or ""
        if not image.startswith("s3://"):
            raise NotFound("This item has no picture on S3.")
        return _to(image)

    @routes.get("/batches/<batch_id>/items/<item_id>/outputs/<int:number>")
    def output(batch_id: str, item_id: str, number: int) -> AnyResponse:
        outputs = ledger.items.get(batch_id, item_id).outputs
        if number >= len(outputs):
            raise NotFound("This item has no such output.")
        uri = outputs[number].uri
        name = f"{batch_id}-{item_id}-{number}{PurePosixPath(uri).suffix}"
        return _to(uri, save_as=name if "save" in request.args else None)

    @routes.get("/batches/<batch_id>/files/<name>")
    def file(batch_id: str, name: str) -> AnyResponse:
        if name not in FILES:
            raise NotFound("A batch has no such file.")
        uri = join(ledger.batches.get(batch_id).output, name)
        if service.storage.info(uri) is None:
            raise NotFound(f"{name} is written when the batch ends.")
        return _to(uri, save_as=f"{batch_id}-{name}")

    def _to(uri: str, *, save_as: str | None = None) -> AnyResponse:
        answer = redirect(service.storage.presign(uri, expires_s=URL_TTL_S, save_as=save_as), 302)
        answer.headers["Cache-Control"] = "no-store" if save_as else f"private, max-age={_KEPT_S}"
        return answer

    return routes
