"""The page of a batch: its live status, and its items as a grid."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, render_template, request

from pipeline.batches.batch_items import BatchItems
from pipeline.batches.progress import read_progress
from pipeline.batches.retry_price import run_price
from pipeline.domain.failure_groups import failure_groups
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.preview_names import previews_of
from pipeline.domain.states import BATCH_TERMINAL, BatchState, ItemState
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.queries import MARKS, ItemCount
from pipeline.web.dashboard import archived_page
from pipeline.web.dashboard.charts import timeline_chart
from pipeline.web.dashboard.page_links import PageLinks, query_number
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
    """An item in the grid, with its takes. `version` changes with everything that is shown."""

    takes: tuple[ItemRow, ...]
    """The first take first."""
    shown: str
    """The id of the take that is shown first."""
    number: int | None
    prices: Mapping[str, Decimal | None]
    """The price of another run of each take, None if it is not known."""
    version: str

    @property
    def first(self) -> ItemRow:
        """The first take."""
        return self.takes[0]


@dataclass(frozen=True)
class ItemGrid:
    """One page of items. `next` and `previous` are query strings, None where there is no such page.

    `pages`: the numbers of the pages; None of a filtered list, which is searched from a position on.
    """

    cards: list[ItemCard]
    next: str | None
    previous: str | None
    scanned: int
    """Position up to which items were searched."""
    pages: PageLinks | None
    awaits_previews: bool
    """Whether previews are to be made that the grid may show."""


def blueprint(ledger: Ledger, items: BatchItems, max_batch_usd: Decimal | None, previews: PreviewLinks) -> Blueprint:
    """Return the routes `GET /batches/{id}`, its parts `…/live` and `…/item-grid`, and `…/items/{item}`."""
    routes = Blueprint("batch", __name__)

    @routes.get("/batches/<batch_id>")
    def page(batch_id: str) -> str:
        batch, filter_ = ledger.batches.get(batch_id), _filter()
        if batch.archived:
            return archived_page.render(items, batch)
        grid, found = _item_grid(ledger, previews, batch, filter_), _count(ledger, batch, filter_, first=0)
        live = _live(ledger, batch, max_batch_usd)
        return render_template("batch.html", batch=batch, filter=filter_, grid=grid, found=found, **live)

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

    @routes.get("/batches/<batch_id>/item-count")
    def item_count(batch_id: str) -> str:
        batch, filter_ = ledger.batches.get(batch_id), _filter()
        found = _count(ledger, batch, filter_, first=filter_.first)
        return render_template("_item_count.html", batch=batch, filter=filter_, found=found)

    @routes.get("/batches/<batch_id>/items/<item_id>")
    def item(batch_id: str, item_id: str) -> str:
        batch = ledger.batches.get(batch_id)
        if batch.archived:
            return archived_page.render_item(items, batch, item_id)
        row = ledger.items.get(batch_id, item_id)
        (card,) = _cards(ledger, previews, batch, [row], None)
        card = replace(card, shown=item_id)
        return render_template("item.html", batch=batch, row=row, card=card)

    return routes


def _filter() -> ItemFilter:
    """Return the filter of the request's query. Invalid values are ignored."""
    state, mark = request.args.get("state", ""), request.args.get("mark", "")
    return ItemFilter(
        first=query_number(request.args.get("from", "")),
        state=state if state in set(ItemState) else "",
        mark=mark if mark in (*MARKS, "none") else "",
        text=request.args.get("find", "")[:MAX_FIND_CHARS].strip(),
    )


def _item_grid(ledger: Ledger, previews: PreviewLinks, batch: BatchRow, filter_: ItemFilter) -> ItemGrid:
    states = [filter_.state] if filter_.state else []
    page = ledger.queries.item_page(
        batch.id, PAGE_SIZE, first=filter_.first, states=states, text=filter_.text, mark=filter_.mark, grouped=True
    )
    has_previous = filter_.first and not filter_.is_active
    firsts = batch.total - batch.takes
    cards = _cards(ledger, previews, batch, page.items, None if filter_.is_active else filter_.first + 1)
    return ItemGrid(
        cards=cards,
        next=None if page.next is None else filter_.query(page.next),
        previous=filter_.query(max(0, filter_.first - PAGE_SIZE)) if has_previous else None,
        scanned=batch.total if page.next is None else page.next,
        pages=None if filter_.is_active else PageLinks.at(filter_.first // PAGE_SIZE, firsts, PAGE_SIZE),
        awaits_previews=ledger.previews.are_due(batch.id, [take.id for card in cards for take in card.takes]),
    )


def _count(ledger: Ledger, batch: BatchRow, filter_: ItemFilter, *, first: int) -> ItemCount | None:
    """Return how many items from position `first` on match the filter, within one search; None without a filter."""
    if not filter_.is_active:
        return None
    states = [filter_.state] if filter_.state else []
    return ledger.queries.count_items(batch.id, first=first, states=states, text=filter_.text, mark=filter_.mark)


def _cards(
    ledger: Ledger, previews: PreviewLinks, batch: BatchRow, rows: list[ItemRow], first_number: int | None
) -> list[ItemCard]:
    """Return the cards of the items of `rows`, each with all takes of its item."""
    groups = ledger.queries.takes(batch.id, rows)
    any_price = run_price(batch, ledger.batches.budget(batch.id))
    own = ledger.items.prices(batch.id, [take.id for takes in groups for take in takes])
    prices = {item_id: any_price if price is None else price for item_id, price in own.items()}
    made, found = previews.load(batch.id, chain.from_iterable(groups)), {row.id for row in rows}
    return [
        ItemCard(
            takes=takes,
            shown=_shown_take(takes, found),
            number=None if first_number is None else first_number + index,
            prices={take.id: prices[take.id] for take in takes},
            version=_version(takes, prices, made),
        )
        for index, takes in enumerate(groups)
    ]


def _version(takes: tuple[ItemRow, ...], prices: Mapping[str, Decimal | None], made: frozenset[str]) -> str:
    return _digest(repr([(take, prices[take.id], sorted(made.intersection(previews_of(take)))) for take in takes]))


def _shown_take(takes: tuple[ItemRow, ...], found: Container[str]) -> str:
    """Return the id of the take to show: one that was found if only a later take was, an approved one, or the last."""
    candidates = takes if takes[0].id in found else [take for take in takes if take.id in found]
    approved = [take for take in candidates if take.review and take.review.mark == "approved"]
    return (approved or candidates)[-1].id


def _live(ledger: Ledger, batch: BatchRow, max_batch_usd: Decimal | None) -> dict[str, Any]:
    """Return the variables of `_live.html`: everything that changes while a batch runs, but for its items."""
    now = datetime.now(UTC)
    account = ledger.account.get()
    progress = read_progress(ledger, batch, account, now)
    budget = ledger.batches.budget(batch.id).capped(max_batch_usd)
    review_counts = _review_counts(ledger, batch)
    failed = batch.counts.get(ItemState.FAILED, 0)
    deadline_s = ledger.batches.config(batch.id).deadline_s
    deadline = None if deadline_s is None else batch.created + timedelta(seconds=deadline_s)
    return {
        "now": now,
        "is_over": batch.status in BATCH_TERMINAL,
        "progress": progress,
        "account": account,
        "budget": budget,
        "price_usd": run_price(batch, budget),
        "failures": failure_groups(ledger.queries.failure_causes(batch.id), failed) if failed else [],
        "review_counts": review_counts,
        "chart": timeline_chart(progress.timeline, batch.created, deadline),
        "version": _digest(f"{batch.counts} {batch.revision} {review_counts}"),
        "states": list(ItemState),
        "actions": _ACTIONS,
        "files": FILES,
    }


def _review_counts(ledger: Ledger, batch: BatchRow) -> dict[str, int]:
    """Return the number of items by review; `none` counts succeeded items without one."""
    return {"none": ledger.queries.to_review_count(batch.id), **ledger.queries.review_counts(batch.id)}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()
