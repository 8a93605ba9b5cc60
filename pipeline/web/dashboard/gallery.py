"""The gallery of a batch as a page: for users who are signed in, and for people with a share link.

A share link opens its page and the media on it, nothing else. Its token is in the path, which no log has.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from flask import Blueprint, Response, current_app, redirect, render_template, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.preview_names import previews_of
from pipeline.errors import NoSuchBatch, NoSuchItem
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.share_links import ShareLink
from pipeline.web.dashboard.page_links import query_number
from pipeline.web.dashboard.previews import PreviewLinks
from pipeline.web.dashboard.share_links import ShareLinks
from pipeline.web.security.authentication import checks_access_itself

PAGE_SIZE = 96
MAX_QUERIES = 30
"""Queries for one page of approved items. Each scans `MAX_SCANNED_ITEMS`, so a page may be short, with a next one."""
_GONE = "This link has expired, was withdrawn, or is incomplete. The person who sent it can make a new one."
_ARCHIVED = "The batch of this link is archived, and its links have ended. The person who sent it can make a new one."


@dataclass(frozen=True)
class GalleryPage:
    """One page of items from position `first` on. `next` and `previous`: positions; None where there is no page."""

    rows: list[ItemRow]
    first: int
    next: int | None
    previous: int | None


def blueprint(ledger: Ledger, links: ShareLinks, previews: PreviewLinks) -> Blueprint:
    """Return the routes `GET /batches/{id}/gallery`, `GET /shared/{token}` and those of the media of the latter."""
    routes = Blueprint("gallery", __name__)

    @routes.get("/batches/<batch_id>/gallery")
    def page(batch_id: str) -> str | AnyResponse:
        approved_only = request.args.get("review") == "approved"
        batch = ledger.batches.get(batch_id)
        if batch.archived:
            # Its page is the gallery.
            return redirect(f"/batches/{quote(batch_id)}{'?review=approved' if approved_only else ''}")
        root = f"/batches/{quote(batch_id)}"
        return _render(ledger, previews, batch, root, approved_only=approved_only, is_shared=False)

    @routes.get("/shared/<token>")
    @checks_access_itself
    def shared(token: str) -> Response:
        link = _link(links, token)
        root, batch = f"/shared/{quote(token)}", _batch(ledger, link)
        text = _render(ledger, previews, batch, root, approved_only=link.is_approved_only, is_shared=True)
        return Response(text, headers={"X-Robots-Tag": "noindex"}, content_type="text/html; charset=utf-8")

    @routes.get("/shared/<token>/items/<item_id>/image")
    @checks_access_itself
    def shared_image(token: str, item_id: str) -> AnyResponse:
        link = _link(links, token)
        _shown_item(ledger, link, item_id)
        return _view("media.image", batch_id=link.batch_id, item_id=item_id)

    @routes.get("/shared/<token>/items/<item_id>/outputs/<int:number>")
    @checks_access_itself
    def shared_output(token: str, item_id: str, number: int) -> AnyResponse:
        link = _link(links, token)
        _shown_item(ledger, link, item_id)
        return _view("media.output", batch_id=link.batch_id, item_id=item_id, number=number)

    @routes.get("/shared/<token>/items/<item_id>/previews/<name>")
    @checks_access_itself
    def shared_preview(token: str, item_id: str, name: str) -> AnyResponse:
        link = _link(links, token)
        if name not in previews_of(_shown_item(ledger, link, item_id)):
            raise NotFound("This item has no such preview.")
        return _view("previews.preview", batch_id=link.batch_id, name=name)

    return routes


def _link(links: ShareLinks, token: str) -> ShareLink:
    link = links.open(token)
    if link is None:
        raise NotFound(_ARCHIVED if links.is_of_archived_batch(token) else _GONE)
    return link


def _batch(ledger: Ledger, link: ShareLink) -> BatchRow:
    try:
        return ledger.batches.get(link.batch_id)
    except NoSuchBatch:
        raise NotFound(_GONE) from None


def _shown_item(ledger: Ledger, link: ShareLink, item_id: str) -> ItemRow:
    """Return an item that the gallery of the link shows. Raises NotFound."""
    try:
        row = ledger.items.get(link.batch_id, item_id)
    except (NoSuchBatch, NoSuchItem):
        raise NotFound("This gallery has no such item.") from None
    if link.is_approved_only and not row.is_approved:
        raise NotFound("This gallery has no such item.")
    return row


def _view(endpoint: str, **values: object) -> AnyResponse:
    """Return the response of the dashboard's own route: `presigned_redirects` has the rules of what is shown."""
    response: AnyResponse = current_app.ensure_sync(current_app.view_functions[endpoint])(**values)
    return response


def _render(
    ledger: Ledger, previews: PreviewLinks, batch: BatchRow, root: str, *, approved_only: bool, is_shared: bool
) -> str:
    position = query_number(request.args.get("from", ""))
    page = gallery_page(ledger, batch.id, position, approved_only=approved_only)
    review = "approved" if approved_only and not is_shared else None
    return render_template(
        "gallery.html",
        batch=batch,
        page=page,
        previews=previews.load(batch.id, page.rows),
        root=root,
        is_shared=is_shared,
        approved_only=approved_only,
        review=review,
    )


def gallery_page(ledger: Ledger, batch_id: str, first: int, *, approved_only: bool) -> GalleryPage:
    """Return the page from position `first` on. Raises NoSuchBatch."""
    rows: list[ItemRow] = []
    following: int | None = first
    for _ in range(MAX_QUERIES):
        if following is None or len(rows) >= PAGE_SIZE:
            break
        mark = "approved" if approved_only else ""
        found = ledger.queries.item_page(batch_id, PAGE_SIZE - len(rows), first=following, mark=mark)
        rows += found.items
        following = found.next
    previous = None if approved_only or not first else max(0, first - PAGE_SIZE)
    return GalleryPage(rows, first, following, previous)
