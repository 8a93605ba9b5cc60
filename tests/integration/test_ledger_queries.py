"""Pages of batches and items, with bounded work."""

from __future__ import annotations

import pytest
from support.ledger_fixtures import FAILED, PENDING, RUNNING, a_batch, dues, running, succeed

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


def test_only_succeeded_items_without_a_review_are_to_review(ledger: Ledger) -> None:
    a_batch(ledger, items=5)
    running(ledger, 4)
    done, early, failed, late = dues(ledger)
    for name in ("i0", "i1", "i2", "i4"):
        ledger.items.review("b", name, Review("rejected"))
    ledger.runs.end(failed.run, failed.lease, RUNNING, FAILED, {"error": "no"})
    for due in (done, early, late):
        succeed(ledger, due)
    assert ledger.queries.to_review_count("b") == 1
    ledger.items.review("b", "i1", None)
    ledger.items.review("b", "i2", None)
    assert ledger.queries.to_review_count("b") == 2
    assert len(ids(ledger.queries.item_page("b", 9, mark="none"))) == 2


def test_reviews_from_before_the_counter_do_not_make_the_count_negative(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    ledger.items.review("b", "i0", Review("approved"))
    ledger.redis.hdel("dailies:batch:b", "marked_early")
    running(ledger)
    for due in dues(ledger):
        succeed(ledger, due)
    ledger.items.review("b", "i0", None)
    assert ledger.queries.to_review_count("b") == 1


def add_take(ledger: Ledger, item_id: str, take_of: str) -> None:
    assert ledger.items.add("b", item_id, {"image": None, "prompt": item_id, "params": {}, "take_of": take_of})


def test_takes_are_found_with_their_first_take(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    add_take(ledger, "i0-take2", "i0")
    add_take(ledger, "i0-take3", "i0-take2")
    add_take(ledger, "stray", "missing")
    page = ledger.queries.item_page("b", 9, grouped=True)
    assert ids(page) == ["i0", "i1", "i2", "stray"]
    assert ids(ledger.queries.item_page("b", 9)) == ["i0", "i1", "i2", "i0-take2", "i0-take3", "stray"]
    takes = ledger.queries.takes("b", page.items)
    assert [[take.id for take in group] for group in takes] == [
        ["i0", "i0-take2", "i0-take3"],
        ["i1"],
        ["i2"],
        ["stray"],
    ]
    # A take is found by itself if its first take is not.
    alone = ledger.queries.item_page("b", 9, text="take3", grouped=True)
    assert ids(alone) == ["i0-take3"]
    assert [[take.id for take in group] for group in ledger.queries.takes("b", alone.items)] == [
        ["i0", "i0-take2", "i0-take3"]
    ]


def test_a_take_of_an_earlier_version_is_found_by_itself(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    add_take(ledger, "i0-take2", "i0")
    ledger.redis.delete("dailies:item:b:i0", "dailies:item:b:i0-take2")
    page = ledger.queries.item_page("b", 9, grouped=True)
    assert [[take.id for take in group] for group in ledger.queries.takes("b", page.items)] == [["i0"], ["i0-take2"]]


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
