"""The page of an archived batch: its summary from Redis, and its items from S3, as a gallery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from pipeline.batches.batch_items import BatchItems
from pipeline.batches.recovery import Recovery
from pipeline.domain.model import BatchRow, ItemRow, Output
from pipeline.domain.preview_names import output_preview
from pipeline.domain.states import ItemState
from pipeline.web.dashboard.page_links import query_number
from pipeline.web.dashboard.presigned_redirects import FILES

PAGE_SIZE = 48


@dataclass(frozen=True)
class ArchivedItems:
    """One page of items. `positions`: item id → where its row is on S3. `next`: the query string of the next page."""

    rows: list[ItemRow]
    positions: Mapping[str, int]
    is_first: bool
    next: str | None


def blueprint(recovery: Recovery) -> Blueprint:
    """Return the route `POST /batches/{id}/restore`, for a form."""
    routes = Blueprint("archived", __name__)

    @routes.post("/batches/<batch_id>/restore")
    def restore(batch_id: str) -> AnyResponse:
        recovery.restore(batch_id)
        return redirect(f"/batches/{quote(batch_id)}", 303)

    return routes


def render(items: BatchItems, batch: BatchRow) -> str:
    """Return the page. The query selects items by `state` or `review=approved`. Raises StorageError, DamagedRecord."""
    state, is_approved = request.args.get("state", ""), request.args.get("review") == "approved"
    state = state if state in set(ItemState) else ""
    return _render(batch, _page(items, batch, state, is_approved=is_approved), state, is_approved=is_approved)


def render_item(items: BatchItems, batch: BatchRow, item_id: str) -> str:
    """Return the page with one item. Raises NoSuchItem, StorageError, DamagedRecord."""
    position, row = items.archived_item(batch, item_id)
    return _render(batch, ArchivedItems([row], {item_id: position}, is_first=False, next=None), "", is_approved=False)


def _render(batch: BatchRow, page: ArchivedItems, state: str, *, is_approved: bool) -> str:
    return render_template(
        "archived.html",
        batch=batch,
        page=page,
        state=state,
        states=list(ItemState),
        approved_only=is_approved,
        # The player ignores a poster that is not there.
        previews={name for row in page.rows for output in row.outputs if (name := _poster(output))},
        root=f"/batches/{quote(batch.id)}",
        is_shared=False,
        files=FILES,
    )


def _poster(output: Output) -> str | None:
    return output_preview(output) if output.content_type.startswith("video/") else None


def _page(items: BatchItems, batch: BatchRow, state: str, *, is_approved: bool) -> ArchivedItems:
    first = query_number(request.args.get("from", ""))
    found, following = items.archived_page(
        batch, PAGE_SIZE, first=first, states=[state] if state else [], mark="approved" if is_approved else ""
    )
    query = {"state": state, "review": "approved" if is_approved else "", "from": following}
    return ArchivedItems(
        rows=[row for _, row in found],
        positions={row.id: position for position, row in found},
        is_first=not first,
        next=None if following is None else "?" + urlencode({name: value for name, value in query.items() if value}),
    )
