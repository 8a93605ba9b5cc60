"""Pages of batches and items, with bounded work."""

from __future__ import annotations

import pytest
from support.ledger_fixtures import PENDING, RUNNING, a_batch, dues, running, succeed

from pipeline.domain.model import Review
from pipeline.errors import NoSuchBatch
from pipeline.ledger import queries
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.queries import ItemPage


def ids(page: ItemPage) -> list[str]:
    return [row.id for row in page.items]


def test_batches_come_in_pages_newest_first(ledger: Ledger) -> None:
    for number in range(5):
        a_batch(ledger, f"b{number}", items=1)
    first = ledger.queries.batch_page(2)
    second = ledger.queries.batch_page(2, after=first.next)
    third = ledger.queries.batch_page(2, after=second.next)
    pages = (first, second, third)
    seen = [row.id for page in pages for row in page.batches]
    assert sorted(seen, reverse=True) == ["b4", "b3", "b2", "b1", "b0"]
    assert len(seen) == 5
    assert third.next is None


def test_a_page_after_an_unknown_batch_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(NoSuchBatch):
        ledger.queries.batch_page(2, after="nope")


def test_items_are_found_by_review_and_counted(ledger: Ledger) -> None:
    a_batch(ledger, items=5)
    running(ledger, 4)
    for due in dues(ledger):
        succeed(ledger, due)
    for name, mark in (("i0", "approved"), ("i1", "rejected"), ("i2", "rejected"), ("i2", "approved")):
        ledger.items.review("b", name, Review(mark))
    assert ids(ledger.queries.item_page("b", 9, mark="approved")) == ["i0", "i2"]
    assert ids(ledger.queries.item_page("b", 9, mark="rejected", text="p1")) == ["i1"]
    assert ids(ledger.queries.item_page("b", 9, mark="none")) == ["i3"]
    assert ledger.queries.review_counts("b") == {"approved": 2, "rejected": 1}
    ledger.items.review("b", "i0", None)
    ledger.items.review("b", "i0", None)
    assert ledger.queries.review_counts("b") == {"approved": 1, "rejected": 1}
    assert ids(ledger.queries.item_page("b", 9, mark="none")) == ["i0", "i3"]


def test_items_come_in_pages_in_manifest_order(ledger: Ledger) -> None:
    a_batch(ledger, items=5)
    first = ledger.queries.item_page("b", 2)
    assert ids(first) == ["i0", "i1"]
    assert first.next == 2
    last = ledger.queries.item_page("b", 3, first=2)
    assert ids(last) == ["i2", "i3", "i4"]
    assert last.next in (None, 5)
    assert ids(ledger.queries.item_page("b", 3, first=5)) == []


def test_items_are_found_by_state_and_text(ledger: Ledger) -> None:
    a_batch(ledger, items=12)
    running(ledger, 2)
    assert ids(ledger.queries.item_page("b", 10, states=[RUNNING])) == ["i0", "i1"]
    assert len(ids(ledger.queries.item_page("b", 50, states=[PENDING]))) == 10
    assert ids(ledger.queries.item_page("b", 10, states=[PENDING], text="P1")) == ["i10", "i11"]
    assert ids(ledger.queries.item_page("b", 10, text="I11")) == ["i11"]
    assert ids(ledger.queries.item_page("b", 10, text='"')) == []


def test_a_filtered_page_scans_a_bounded_number_of_items(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_SCANNED_ITEMS", 500)
    a_batch(ledger, items=1200)
    page = ledger.queries.item_page("b", 10, text="p1199")
    assert ids(page) == []
    assert page.next == 500
    page = ledger.queries.item_page("b", 10, text="p1199", first=1000)
    assert ids(page) == ["i1199"]
    assert page.next is None
