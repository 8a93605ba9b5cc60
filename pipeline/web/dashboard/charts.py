"""Figures drawn on the server, as numbers for SVG: no script, no inline style. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from pipeline.domain.formatting import duration, pluralize
from pipeline.domain.states import TERMINAL, ItemState
from pipeline.ledger.timeline import STARTED, Timeline

WIDTH, HEIGHT = 600, 120
LANE = 44
"""How high the timeline is over its middle line, and under it."""
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


@dataclass(frozen=True)
class Block:
    """One rectangle of a timeline, in the units of the drawing: ends stand on the middle line, starts hang from it."""

    what: str
    y: float
    height: float


@dataclass(frozen=True)
class Slice:
    """A slice of a timeline, and what happened in it, in words."""

    x: float
    width: float
    blocks: list[Block]
    words: str


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


def timeline_slices(timeline: Timeline, begin: datetime) -> list[Slice]:
    """Return the timeline as a drawing WIDTH wide: started runs below its middle line, ended items above it."""
    step = WIDTH / len(timeline.slices)
    most = max(max(slice_.get(STARTED, 0), _ends(slice_)) for slice_ in timeline.slices) or 1
    drawn = []
    for place, slice_ in enumerate(timeline.slices):
        blocks, y = [], float(LANE)
        for state in _ORDER:
            if count := slice_.get(state, 0):
                height = LANE * count / most
                y -= height
                blocks.append(Block(state, round(y, 2), round(height, 2)))
        if count := slice_.get(STARTED, 0):
            blocks.append(Block(STARTED, float(LANE), round(LANE * count / most, 2)))
        words = _words(slice_, begin + timedelta(seconds=place * timeline.step_s), timeline.step_s)
        drawn.append(Slice(round(place * step, 2), round(max(step - 1, 1), 2), blocks, words))
    return drawn


def busiest(timeline: Timeline) -> str:
    """The most that happened in a slice, in words."""
    started = max(slice_.get(STARTED, 0) for slice_ in timeline.slices)
    ends = max(map(_ends, timeline.slices))
    runs, items = pluralize(started, "run"), pluralize(ends, "item")
    return f"in {duration(timeline.step_s)} at most {runs} started and {items} ended"


def _ends(slice_: Mapping[str, int]) -> int:
    return sum(count for what, count in slice_.items() if what != STARTED)


def _words(slice_: Mapping[str, int], since: datetime, step_s: float) -> str:
    parts = [f"{slice_[what]:,} {what}" for what in (STARTED, *_ORDER) if slice_.get(what)]
    return f"{since:%Y-%m-%d %H:%M:%S} UTC, {duration(step_s)}: {', '.join(parts)}" if parts else ""


def ended(counts: Mapping[str, int]) -> int:
    """How many items have ended."""
    return sum(count for state, count in counts.items() if state in TERMINAL)
