"""Previews of images and videos for a browser: each has one address, and is loaded once."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, Flask, Response, g, redirect, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.batch_items import BatchItems
from pipeline.domain.model import BatchRow, ItemRow, Output
from pipeline.domain.preview_names import (
    FOLDER,
    MAX_BYTES,
    MEDIA_TYPE,
    image_preview,
    is_preview,
    output_preview,
    previews_of,
)
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.previews import PreviewStore
from pipeline.storage.s3 import Storage, join

CACHE = "private, max-age=31536000, immutable"


class PreviewLinks:
    """Addresses of previews. Each method may raise Unreachable."""

    def __init__(self, store: PreviewStore) -> None:
        self._store = store

    def add_to(self, app: Flask) -> None:
        """Add the functions of this module's names and addresses to the templates of `app`."""
        app.add_template_global(image_preview)
        app.add_template_global(output_preview)
        app.add_template_global(self.image_url, "image_preview_url")
        app.add_template_global(self.output_url, "output_preview_url")

    def load(self, batch_id: str, rows: Iterable[ItemRow]) -> frozenset[str]:
        """Read at once which previews of items are made, for the rest of this request. Return their names."""
        names = dict.fromkeys(name for row in rows for name in previews_of(row))
        g.previews = self._store.made(batch_id, list(names))
        return frozenset(g.previews)

    def image_url(self, batch: BatchRow, row: ItemRow) -> str | None:
        """Return the address of the preview of an item's image, None if there is none."""
        return self._url(batch.id, image_preview(row.image) if row.image else None)

    def output_url(self, batch: BatchRow, output: Output) -> str | None:
        """Return the address of the preview of an output, None if there is none."""
        return self._url(batch.id, output_preview(output))

    def _url(self, batch_id: str, name: str | None) -> str | None:
        if name is None:
            return None
        made = g.previews if "previews" in g else self._store.made(batch_id, [name])
        return url_for("previews.preview", batch_id=batch_id, name=name) if name in made else None


def blueprint(ledger: Ledger, items: BatchItems, storage: Storage) -> Blueprint:
    """Return the routes `…/previews/{name}` of a batch and `…/items/{item}/{n}/preview`."""
    routes = Blueprint("previews", __name__)

    @routes.get("/batches/<batch_id>/previews/<name>")
    def preview(batch_id: str, name: str) -> AnyResponse:
        response = send_preview(storage, ledger.batches.get(batch_id), name)
        # The name is a digest of the content.
        response.headers["Cache-Control"] = CACHE
        return response

    @routes.get("/batches/<batch_id>/items/<item_id>/<int:number>/preview")
    def of_output(batch_id: str, item_id: str, number: int) -> AnyResponse:
        batch = ledger.batches.get(batch_id)
        outputs = items.get(batch, item_id).outputs
        if number >= len(outputs):
            raise NotFound(f"This item has no output {number}.")
        name = output_preview(outputs[number])
        if name and ledger.previews.made(batch_id, [name]):
            return send_preview(storage, batch, name)
        return redirect(url_for("media.output", batch_id=batch_id, item_id=item_id, number=number), 302)

    return routes


def send_preview(storage: Storage, batch: BatchRow, name: str) -> Response:
    """Return a preview as a response, 304 if the browser has it. Raises NotFound, StorageError."""
    if not is_preview(name):
        raise NotFound("There is no preview of this name.")
    response = Response(content_type=MEDIA_TYPE)
    response.set_etag(name)
    if not request.if_none_match.contains(name):
        data = storage.get(join(batch.output, FOLDER, name), max_bytes=MAX_BYTES)
        if data is None:
            raise NotFound("There is no preview of this name.")
        response.data = data
    response.make_conditional(request)
    return response
