"""The price and the confirmation of a button that buys runs."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from pipeline.batches.retry_price import price_words, purchase_question, retry_price, run_price
from pipeline.domain.model import BatchRow
from pipeline.ledger.records import BatchBudget

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def a_batch(succeeded: int, cost_usd: str) -> BatchRow:
    counts = {"succeeded": succeeded} if succeeded else {}
    return BatchRow("b", "b", "m/n", "running", counts, 9, Decimal(cost_usd), NOW, None, "s3://b/b/", "cli")


def test_the_vendors_price_is_the_price_of_a_run() -> None:
    assert run_price(a_batch(2, "0.40"), BatchBudget(None, Decimal("0.09"))) == Decimal("0.09")


def test_without_a_price_it_is_what_runs_have_cost() -> None:
    assert run_price(a_batch(3, "0.28"), BatchBudget(None, None)) == Decimal("0.10")
    assert run_price(a_batch(0, "0.28"), BatchBudget(None, None)) is None
    assert run_price(a_batch(3, "0"), BatchBudget(None, None)) is None


def test_a_button_shows_the_sum_and_the_question_the_price_of_each_run() -> None:
    price = Decimal("0.09")
    assert retry_price(price, 161) == Decimal("14.49")
    assert price_words(price, 161) == "up to $14.49"
    assert purchase_question(price, 161) == "Start 161 runs for up to $14.49, $0.09 each?"
    assert purchase_question(price, 1) == "Start 1 run for up to $0.09?"


def test_an_unknown_price_is_said() -> None:
    assert price_words(None, 3) == "price unknown"
    assert purchase_question(None, 3) == "Start 3 runs? The price of a run is not known."
