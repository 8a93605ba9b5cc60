from datetime import UTC, datetime
from decimal import Decimal

from pipeline.domain import formatting


def test_money_has_cents_and_more_digits_if_needed() -> None:
    amounts = ("0", "0.00", "0.09", "1.5", "1234.5", "0.00351000", "100")
    assert [formatting.dollars(Decimal(text)) for text in amounts] == [
        "$0", "$0", "$0.09", "$1.50", "$1,234.50", "$0.00351", "$100.00",
    ]  # fmt: skip


def test_durations_have_two_units() -> None:
    assert [formatting.duration(s) for s in (0, 6.24, 59.97, 124, 3600, 12_000, 183_600)] == [
        "0 s", "6.2 s", "1 min", "2 min 4 s", "1 h", "3 h 20 min", "2 d 3 h",
    ]  # fmt: skip


def test_a_count_of_one_is_singular() -> None:
    assert [formatting.pluralize(n, "item") for n in (0, 1, 100_000)] == ["0 items", "1 item", "100,000 items"]


def test_times_are_in_utc() -> None:
    assert formatting.when(datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == "2026-01-02 03:04 UTC"
