"""Durations as manifests and schedules write them."""

from __future__ import annotations

import pytest

from pipeline.domain.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("2h", 7200), ("1.5h", 5400), ("7 d", 604_800), ("0s", 0)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "2 hours", "1e3s", "1.h", "2h30m", "1234567890s", "2h\n"])
def test_other_text_is_not_a_duration(text: str) -> None:
    assert parse_duration(text) is None
