"""What a schedule fills into its manifest, and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.triggers.fill import filler
from pipeline.triggers.schedules import Schedule

NIGHTLY = Schedule("nightly", "0 2 * * *", "nightly.yaml", "Asia/Tokyo")
TICK = datetime(2026, 7, 26, 17, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{schedule}-{date}", "nightly-2026-07-27"),
        ("at {time} o'clock", "at 0200 o'clock"),
        ("{{date}} is not {date}", "{date} is not 2026-07-27"),
        ("{other} { date } {} {0} {date", "{other} { date } {} {0} {date"),
        ("{date.year} {date!r} {date:%Y}", "{date.year} {date!r} {date:%Y}"),
        ("{{{date}}}", "{{date}}"),
        ("%(date)s $date \\{date}", "%(date)s $date \\2026-07-27"),
        ("", ""),
    ],
)
def test_only_three_names_are_filled_in(text: str, expected: str) -> None:
    assert filler(NIGHTLY, TICK)(text) == expected
