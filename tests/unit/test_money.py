"""Amounts of money: exact, bounded, and warnings about charges that are far off."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipeline.domain.money import MAX_USD, from_pico, overcharge_warning, to_pico
from pipeline.errors import AmountTooLarge


@pytest.mark.parametrize("text", ["0", "0.003510000000", "0.000000000001", "9000000"])
def test_an_amount_is_exact(text: str) -> None:
    assert from_pico(to_pico(Decimal(text))) == Decimal(text)


def test_the_largest_amount_is_an_integer_that_redis_counts() -> None:
    assert to_pico(MAX_USD) < 2**63


@pytest.mark.parametrize("text", ["9000000.01", "40500000", "1E+18"])
def test_a_larger_amount_is_refused(text: str) -> None:
    with pytest.raises(AmountTooLarge, match="at most 9,000,000 USD"):
        to_pico(Decimal(text))


@pytest.mark.parametrize(
    ("charged", "expected", "warns"),
    [
        ("0.27", "0.09", False),
        ("0.28", "0.09", True),
        ("40500", "0.09", True),
        ("40500", "0", False),
        ("9000001", "0", True),
        ("0", "0.09", False),
    ],
)
def test_a_charge_above_three_times_the_expected_price_is_a_warning(charged: str, expected: str, warns: bool) -> None:
    warning = overcharge_warning("run 1 of item i0", Decimal(charged), Decimal(expected))
    assert bool(warning) is warns
    if warns:
        assert "run 1 of item i0" in warning
