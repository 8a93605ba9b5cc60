"""The page of a batch: its live status, and its items as a grid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, render_template, request

from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.preview_names import previews_of
from pipeline.domain.states import BATCH_TERMINAL, BatchState, ItemState, ended_count
from pipeline.domain.throughput import items_per_minute, remaining_s
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.queries import MARKS
from pipeline.ledger.timeline import Timeline
from pipeline.web.dashboard.charts import timeline_chart
from pipeline.web.dashboard.presigned_redirects import FILES
from pipeline.web.dashboard.previews import PreviewLinks

PAGE_SIZE = 48
MAX_FIND_CHARS = 200
KNOWN_CARDS = "X-Known-Cards"
"""Request header: the versions of the cards that a page shows. Those that have not changed are not sent again."""
_ACTIONS = {
    "pause": (BatchState.RUNNING,),
    "resume": (BatchState.PAUSED,),
    "cancel": (BatchState.QUEUED, BatchState.RUNNING, BatchState.PAUSED),
}


@dataclass(frozen=True)
class ItemFilter:
    """Which items are shown: from position `first` on, by state and review ('' for any), by text."""

    first: int
    state: str
    mark: str
    text: str

    @property
    def is_active(self) -> bool:
        """Whether some items are hidden."""
        return bool(self.state or self.mark or self.text)

    def query(self, first: int) -> str:
        """Return the query string of the same filter from position `first` on."""
        parts = {"state": self.state, "mark": self.mark, "find": self.text, "from": first or ""}
        return "?" + urlencode({name: value for name, value in parts.items() if value})


@dataclass(frozen=True)
class ItemCard:
    """An item in the grid. `version` changes with everything that is shown; `original` is the item of a take."""

    row: ItemRow
    number: int | None
    original: ItemRow | None
    version: str


@dataclass(frozen=True)
class ItemGrid:
    """One page of items. `next` and `previous` are query strings, None where there is no such page."""

    cards: list[ItemCard]
    next: str | None
    previous: str | None
    scanned: int
    """Position up to which items were searched."""
    awaits_previews: bool
    """Whether previews are to be made that the grid may show."""


def blueprint(ledger: Ledger, max_batch_usd: Decimal | None, previews: PreviewLinks) -> Blueprint:
    """Return the routes `GET /batches/{id}`, its parts `…/live` and `…/item-grid`, and `…/items/{item}`."""
    routes = Blueprint("batch", __name__)

    @routes.get("/batches/<batch_id>")
    def page(batch_id: str) -> str:
        batch, filter_ = ledger.batches.get(batch_id), _filter()
        grid = _item_grid(ledger, previews, batch, filter_)
        return render_template(
            "batch.html", batch=batch, filter=filter_, grid=grid, **_live(ledger, batch, max_batch_usd)
        )

    @routes.get("/batches/<batch_id>/live")
    def live(batch_id: str) -> str:
        batch = ledger.batches.get(batch_id)
        return render_template("_live.html", batch=batch, filter=_filter(), **_live(ledger, batch, max_batch_usd))

    @routes.get("/batches/<batch_id>/item-grid")
    def item_grid(batch_id: str) -> str:
        batch, filter_ = ledger.batches.get(batch_id), _filter()
        grid = _item_grid(ledger, previews, batch, filter_)
        known = request.headers.get(KNOWN_CARDS, "").split(",")
        return render_template("_item_grid.html", batch=batch, filter=filter_, grid=grid, known=known)

    @routes.get("/batches/<batch_id>/items/<item_id>")
    def item(batch_id: str, item_id: str) -> str:
        row = ledger.items.get(batch_id, item_id)
        (card,) = _cards(ledger, previews, batch_id, [row], None)
        return render_template("item.html", batch=ledger.batches.get(batch_id), card=card)

    return routes


def _filter() -> ItemFilter:
    """Return the filter of the request's query. Invalid values are ignored."""
    first = request.args.get("from", "")
    state, mark = request.args.get("state", ""), request.args.get("mark", "")
    return ItemFilter(
        first=int(first) if first.isascii() and first.isdecimal() and len(first) < 10 else 0,
        state=state if state in set(ItemState) else "",
        mark=mark if mark in (*MARKS, "none") else "",
        text=request.args.get("find", "")[:MAX_FIND_CHARS].strip(),
    )


def _item_grid(ledger: Ledger, previews: PreviewLinks, batch: BatchRow, filter_: ItemFilter) -> ItemGrid:
    states = [filter_.state] if filter_.state else []
    page = ledger.queries.item_page(
        batch.id, PAGE_SIZE, first=filter_.first, states=states, text=filter_.text, mark=filter_.mark
    )
    has_previous = filter_.first and not filter_.is_active
    return ItemGrid(
        cards=_cards(ledger, previews, batch.id, page.items, None if filter_.is_active else filter_.first + 1),
        next=None if page.next is None else filter_.query(page.next),
        previous=filter_.query(max(0, filter_.first - PAGE_SIZE)) if has_previous else None,
        scanned=batch.total if page.next is None else page.next,
        awaits_previews=ledger.previews.are_due(batch.id, [row.id for row in page.items]),
    )


def _cards(
    ledger: Ledger, previews: PreviewLinks, batch_id: str, rows: list[ItemRow], first_number: int | None
) -> list[ItemCard]:
    originals = {row.take_of: ledger.items.get(batch_id, row.take_of) for row in rows if row.take_of}
    made = previews.load(batch_id, [*rows, *originals.values()])
    return [
        ItemCard(
            row=row,
            number=None if first_number is None else first_number + index,
            original=originals.get(row.take_of or ""),
            version=_digest(f"{row!r} {[name for name in previews_of(row) if name in made]}"),
        )
        for index, row in enumerate(rows)
    ]


def _live(ledger: Ledger, batch: BatchRow, max_batch_usd: Decimal | None) -> dict[str, Any]:
    """Return the variables of `_live.html`: everything that changes while a batch runs, but for its items."""
    now = datetime.now(UTC)
    is_over = batch.status in BATCH_TERMINAL
    elapsed_s = max(0.0, ((batch.finished or now) - batch.created).total_seconds())
    timeline = ledger.timeline.read(batch.id, elapsed_s)
    review_counts = _review_counts(ledger, batch)
    deadline_s = ledger.batches.config(batch.id).deadline_s
    deadline = None if deadline_s is None else batch.created + timedelta(seconds=deadline_s)
    return {
        "now": now,
        "is_over": is_over,
        "elapsed_s": elapsed_s,
        **_throughput(batch, timeline, elapsed_s, is_over=is_over),
        "account": ledger.account.get(),
        "budget": ledger.batches.budget(batch.id).capped(max_batch_usd),
        "review_counts": review_counts,
        "chart": timeline_chart(timeline, batch.created, deadline),
        "version": _digest(f"{batch.counts} {batch.revision} {review_counts}"),
        "states": list(ItemState),
        "actions": _ACTIONS,
        "files": FILES,
    }


def _throughput(batch: BatchRow, timeline: Timeline, elapsed_s: float, *, is_over: bool) -> dict[str, float | None]:
    """Return the throughput and the remaining time; of an ended batch its mean throughput."""
    ended = ended_count(batch.counts)
    if is_over:
        return {"per_minute": 60 * ended / elapsed_s if elapsed_s else None, "remaining_s": None}
    per_minute = items_per_minute(timeline.ended, timeline.step_s, elapsed_s)
    is_paused = batch.status == BatchState.PAUSED
    return {
        "per_minute": per_minute,
        "remaining_s": None if is_paused else remaining_s(batch.total - ended, per_minute),
    }


def _review_counts(ledger: Ledger, batch: BatchRow) -> dict[str, int]:
    """Return the number of items by review; `none` counts succeeded items without one."""
    reviewed = ledger.queries.review_counts(batch.id)
    # An item that was reviewed and then failed again counts among the reviewed, not among the succeeded.
    return {"none": max(0, batch.counts.get(ItemState.SUCCEEDED, 0) - sum(reviewed.values())), **reviewed}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()
