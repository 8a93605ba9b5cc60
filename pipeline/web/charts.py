"""Figures drawn on the server, as numbers for SVG: no script, no inline style. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pipeline.states import TERMINAL, ItemState

WIDTH, HEIGHT = 600, 120
_GAP = 4
_ORDER = (
    ItemState.SUCCEEDED, ItemState.FAILED, ItemState.UNKNOWN, ItemState.CANCELLED,
    ItemState.COLLECTING, ItemState.RUNNING, ItemState.SUBMITTING, ItemState.PENDING,
)  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """One day's bar, in the units of the drawing."""

    day: date
    usd: Decimal
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Part:
    """A state's part of a progress bar, in per cent."""

    state: str
    count: int
    start: float
    width: float


def spend_bars(days: Sequence[tuple[date, Decimal]]) -> list[Bar]:
    """A bar a day, the dearest one as high as the drawing; a day that cost anything can be seen."""
    most = max((usd for _, usd in days), default=Decimal(0))
    step = WIDTH / max(len(days), 1)
    bars = []
    for place, (day, usd) in enumerate(days):
        height = max(3.0, float(usd / most) * HEIGHT) if usd else 0.0
        bars.append(Bar(day, usd, round(place * step + _GAP / 2, 1), round(HEIGHT - height, 1), step - _GAP, height))
    return bars


def progress_parts(counts: Mapping[str, int], total: int) -> list[Part]:
    """The parts of a batch's progress bar: what has ended first."""
    parts: list[Part] = []
    start = 0.0
    for state in _ORDER:
        if count := counts.get(state, 0):
            width = 100 * count / max(total, 1)
            parts.append(Part(state, count, round(start, 3), round(width, 3)))
            start += width
    return parts


def ended(counts: Mapping[str, int]) -> int:
    """How many items have ended."""
    return sum(count for state, count in counts.items() if state in TERMINAL)
