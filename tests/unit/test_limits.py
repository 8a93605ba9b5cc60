"""Limits under ceilings: of each the stricter one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pipeline.domain.limits import capped
from pipeline.domain.model import Limits

LOOSE = Limits(attempts=20)


@pytest.mark.parametrize(
    ("limit", "lower", "higher"),
    [
        ("max_active", 2, 10),
        ("budget_usd", Decimal("0.50"), Decimal("50")),
        ("attempts", 1, 9),
        ("tolerated_failures", "3", "10%"),
        ("tolerated_failures", "1%", "2"),
        ("tolerated_failures", "0%", "100%"),
        ("deadline_s", 60.0, 3600.0),
    ],
)
def test_a_limit_lowers_its_ceiling_and_never_raises_it(limit: str, lower: Any, higher: Any) -> None:
    few, many = Limits(**{"attempts": 20, limit: lower}), Limits(**{"attempts": 20, limit: higher})
    assert capped(few, many, items=100) == capped(many, few, items=100) == few


@pytest.mark.parametrize("limit", ["max_active", "budget_usd", "tolerated_failures", "deadline_s"])
def test_a_missing_limit_is_its_ceiling_and_a_missing_ceiling_changes_nothing(limit: str) -> None:
    value = {"tolerated_failures": "10%"}.get(limit, 7)
    some = Limits(**{"attempts": 3, limit: value})  # type: ignore[arg-type]
    assert capped(Limits(), some, items=100) == capped(some, LOOSE, items=100) == some


def test_without_ceilings_limits_stay() -> None:
    limits = Limits(4, Decimal(5), 6, "7%", 8.0)
    assert capped(limits, LOOSE, items=100) == limits
