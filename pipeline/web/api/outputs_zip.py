"""`GET /api/v1/batches/{id}/outputs.zip`: the outputs of a batch, or those of some items, as one archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from threading import BoundedSemaphore

from flask import Response
from werkzeug.exceptions import NotFound, ServiceUnavailable

from pipeline.batches.batch_items import BatchItems
from pipeline.batches.output_zip import zip_entries, zip_pieces
from pipeline.batches.service import Service
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.web.api.batches import BATCH
from pipeline.web.api.endpoints import Endpoints
from pipeline.web.api.schemas import OutputsQuery

ZIP = "application/zip"
_RETRY_AFTER_S = 60


def add_to(endpoints: Endpoints, service: Service, max_downloads: int) -> None:
    """Add the endpoint. It sends at most `max_downloads` archives at a time: each of them takes a thread."""
    slots = BoundedSemaphore(max_downloads)

    @endpoints.add("GET", f"{BATCH}/outputs.zip", responses={200: ZIP}, errors=(400, 404, 502), query=OutputsQuery)
    def download_outputs(batch_id: str, query: OutputsQuery) -> Response:
        """Download the outputs of a batch as a ZIP archive.

        By default of all items that have one; `review=approved`: of approved items; `item`: of these items. The
        archive is made while it is sent. The response is 503 if there are too many downloads at a time.
        """
        batch = service.ledger.batches.get(batch_id)
        entries = zip_entries(batch, _rows(service.items, batch, query))
        first = next(entries, None)
        if first is None:
            raise NotFound("No item of this selection has an output.")
        if not slots.acquire(blocking=False):
            message = "Too many archives are being downloaded. Try again in a minute, or use `dailies pull`."
            raise ServiceUnavailable(message, retry_after=_RETRY_AFTER_S)
        with ExitStack() as cleanup:
            cleanup.callback(slots.release)
            pieces = zip_pieces(service.storage, batch, chain([first], entries))
            cleanup.callback(pieces.close)
            # If S3 is unavailable, the response is an error and not half an archive.
            response = Response(chain([next(pieces)], pieces), content_type=ZIP)
            response.call_on_close(cleanup.pop_all().close)
        name = f"{batch_id}-approved.zip" if query.review else f"{batch_id}.zip"
        response.headers["Content-Disposition"] = f"attachment; filename={name}"
        response.headers["Cache-Control"] = "no-store"
        # A proxy passes the archive on as it comes, and keeps no copy of it.
        response.headers["X-Accel-Buffering"] = "no"
        return response


def _rows(items: BatchItems, batch: BatchRow, query: OutputsQuery) -> Iterator[ItemRow]:
    rows = items.select(batch, query.item) if query.item else items.stream(batch)
    return (row for row in rows if row.is_approved or query.review is None)
