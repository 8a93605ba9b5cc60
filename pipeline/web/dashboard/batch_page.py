"""The page of a batch: how it is doing, live, and its items as a contact sheet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, render_template, request

from pipeline.batches.service import Service
from pipeline.domain.model import BatchRow, ItemRow
from pipeline.domain.states import BATCH_TERMINAL, BatchState, ItemState
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.queries import MARKS
from pipeline.ledger.timeline import STARTED
from pipeline.web.dashboard.charts import LANE, WIDTH, busiest, ended, progress_parts, timeline_slices
from pipeline.web.dashboard.presigned_redirects import FILES

PAGE = 48
MAX_FIND_CHARS = 200
_STEERABLE = {
    "pause": (BatchState.RUNNING,),
    "resume": (BatchState.PAUSED,),
    "cancel": (BatchState.QUEUED, BatchState.RUNNING, BatchState.PAUSED),
}


@dataclass(frozen=True)
class Asked:
    """Which items to show: from which position on, in which state and with which verdict ('' for any), which text."""

    first: int
    state: str
    mark: str
    find: str

    @property
    def is_filtered(self) -> bool:
        """Whether not every item is shown."""
        return bool(self.state or self.mark or self.find)

    def query(self, first: int) -> str:
        """The query that asks for the same from `first` on."""
        parts = {"state": self.state, "mark": self.mark, "find": self.find, "from": first or ""}
        return "?" + urlencode({name: value for name, value in parts.items() if value})


@dataclass(frozen=True)
class Take:
    """An item for the sheet. `version` changes whenever anything that is shown does."""

    row: ItemRow
    number: int | None
    earlier: ItemRow | None
    version: str


@dataclass(frozen=True)
class ItemGrid:
    """A page of takes. `next` is the query of the following page, None at the end."""

    takes: list[Take]
    next: str | None
    back: str | None
    looked_at: int
    """Up to which position items were looked at."""


def blueprint(service: Service) -> Blueprint:
    """`GET /batches/{id}`, and its parts for the scripts of the page: `…/sheet`, `…/now` and `…/items/{item}`."""
    routes = Blueprint("batch", __name__)
    ledger = service.ledger

    @routes.get("/batches/<batch_id>")
    def page(batch_id: str) -> str:
        batch, asked = ledger.batches.get(batch_id), _asked()
        sheet = _item_grid(ledger, batch, asked)
        return render_template("batch.html", batch=batch, asked=asked, sheet=sheet, **_figures(ledger, batch))

    @routes.get("/batches/<batch_id>/sheet")
    def sheet(batch_id: str) -> str:
        batch, asked = ledger.batches.get(batch_id), _asked()
        return render_template("_sheet.html", batch=batch, asked=asked, sheet=_item_grid(ledger, batch, asked))

    @routes.get("/batches/<batch_id>/now")
    def now(batch_id: str) -> str:
        batch = ledger.batches.get(batch_id)
        return render_template("_now.html", batch=batch, asked=_asked(), **_now(ledger, batch))

    @routes.get("/batches/<batch_id>/items/<item_id>")
    def item(batch_id: str, item_id: str) -> str:
        row = ledger.items.get(batch_id, item_id)
        (take,) = _takes(ledger, batch_id, [row], None)
        return render_template("item.html", batch=ledger.batches.get(batch_id), take=take)

    return routes


def _asked() -> Asked:
    first = request.args.get("from", "")
    state, mark = request.args.get("state", ""), request.args.get("mark", "")
    return Asked(
        first=min(int(first), 10**9) if first.isascii() and first.isdecimal() and len(first) < 10 else 0,
        state=state if state in set(ItemState) else "",
        mark=mark if mark in (*MARKS, "none") else "",
        find=request.args.get("find", "")[:MAX_FIND_CHARS].strip(),
    )


def _item_grid(ledger: Ledger, batch: BatchRow, asked: Asked) -> ItemGrid:
    states = [asked.state] if asked.state else []
    page = ledger.queries.item_page(batch.id, PAGE, first=asked.first, states=states, text=asked.find, mark=asked.mark)
    takes = _takes(ledger, batch.id, page.items, None if asked.is_filtered else asked.first + 1)
    return ItemGrid(
        takes=takes,
        next=None if page.next is None else asked.query(page.next),
        back=asked.query(max(0, asked.first - PAGE)) if asked.first and not asked.is_filtered else None,
        looked_at=batch.total if page.next is None else page.next,
    )


def _takes(ledger: Ledger, batch_id: str, rows: list[ItemRow], number: int | None) -> list[Take]:
    """The rows as takes; a take of an earlier item has that beside it."""
    earlier = {row.take_of: ledger.items.get(batch_id, row.take_of) for row in rows if row.take_of}
    return [
        Take(
            row=row,
            number=None if number is None else number + place,
            earlier=earlier.get(row.take_of or ""),
            version=hashlib.blake2b(repr(row).encode("utf-8", "replace"), digest_size=6).hexdigest(),
        )
        for place, row in enumerate(rows)
    ]


def _figures(ledger: Ledger, batch: BatchRow) -> dict[str, Any]:
    return {
        **_now(ledger, batch),
        "money": ledger.batches.budget(batch.id),
        "ended": ended(batch.counts),
        "parts": progress_parts(batch.counts, batch.total),
        "states": list(ItemState),
        "steerable": _STEERABLE,
        "files": FILES,
    }


def _marks(ledger: Ledger, batch: BatchRow) -> dict[str, int]:
    """How many takes are to be reviewed, and how many have which verdict."""
    marks = ledger.queries.review_counts(batch.id)
    # A take that was judged before it failed again is in both counts.
    return {"none": max(0, batch.counts.get(ItemState.SUCCEEDED, 0) - sum(marks.values())), **marks}


def _now(ledger: Ledger, batch: BatchRow) -> dict[str, Any]:
    """What changes as time goes by: the batch's life, and whether its account takes runs."""
    now = datetime.now(UTC)
    elapsed_s = max(0.0, ((batch.finished or now) - batch.created).total_seconds())
    timeline = ledger.timeline.read(batch.id, elapsed_s)
    deadline_s = ledger.batches.config(batch.id).deadline_s
    span_s = timeline.step_s * len(timeline.slices)
    return {
        "now": now,
        "is_over": batch.status in BATCH_TERMINAL,
        "elapsed_s": elapsed_s,
        "account": ledger.account.get(),
        "marks": _marks(ledger, batch),
        "slices": timeline_slices(timeline, batch.created),
        "shown": [what for what in (STARTED, *ItemState) if any(what in slice_ for slice_ in timeline.slices)],
        "busiest": busiest(timeline),
        "width": WIDTH,
        "lane": LANE,
        "deadline": None if deadline_s is None else batch.created + timedelta(seconds=deadline_s),
        "deadline_x": None if deadline_s is None or deadline_s > span_s else round(WIDTH * deadline_s / span_s, 1),
    }
