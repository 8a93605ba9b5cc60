"""Charts as numbers for SVG: drawn on the server, without scripts or inline styles. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from pipeline.domain.formatting import duration, pluralize
from pipeline.domain.states import TERMINAL, ItemState
from pipeline.domain.wording import item_words
from pipeline.ledger.timeline import STARTED, Timeline

WIDTH, HEIGHT = 600, 120
LANE = 44
"""Height of the timeline above its middle line, and below it."""
_GAP = 4
_MIN_BAR_HEIGHT = 3.0
_ORDER = (
    ItemState.SUCCEEDED, ItemState.FAILED, ItemState.UNKNOWN, ItemState.CANCELLED,
    ItemState.COLLECTING, ItemState.RUNNING, ItemState.SUBMITTING, ItemState.PENDING,
)  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """The spend of one day, in the units of the chart."""

    day: date
    usd: Decimal
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Part:
    """The part of a state in a progress bar, in per cent. `has_ended`: it is solid, else it is pale."""

    state: str
    count: int
    start: float
    width: float
    has_ended: bool


@dataclass(frozen=True)
class Block:
    """One rectangle of the timeline: ended items above the middle line, started runs below it."""

    event: str
    y: float
    height: float


@dataclass(frozen=True)
class Slice:
    """One slice of the timeline. `title` describes its events; '' if there were none."""

    x: float
    width: float
    blocks: list[Block]
    title: str


@dataclass(frozen=True)
class TimelineChart:
    """A timeline, WIDTH wide and 2 × LANE high. `deadline_x` is None if the chart does not reach the deadline."""

    slices: list[Slice]
    events: list[str]
    """The events that occur, in the order of the legend."""
    busiest: str
    deadline: datetime | None
    deadline_x: float | None
    width: int = WIDTH
    lane: int = LANE


def spend_bars(days: Sequence[tuple[date, Decimal]]) -> list[Bar]:
    """Return one bar per day. The highest spend fills the height; any spend is visible."""
    maximum = max((usd for _, usd in days), default=Decimal(0))
    step = WIDTH / max(len(days), 1)
    bars = []
    for index, (day, usd) in enumerate(days):
        height = max(_MIN_BAR_HEIGHT, float(usd / maximum) * HEIGHT) if usd else 0.0
        bars.append(Bar(day, usd, round(index * step + _GAP / 2, 1), round(HEIGHT - height, 1), step - _GAP, height))
    return bars


def progress_parts(counts: Mapping[str, int], total: int) -> list[Part]:
    """Return the parts of a progress bar, ended items first. `counts` is {item state: number of items}."""
    parts: list[Part] = []
    start = 0.0
    for state in _ORDER:
        if count := counts.get(state, 0):
            width = 100 * count / max(total, 1)
            parts.append(Part(state, count, round(start, 3), round(width, 3), state in TERMINAL))
            start += width
    return parts


def timeline_chart(timeline: Timeline, created: datetime, deadline: datetime | None) -> TimelineChart:
    """Return the chart of a timeline that begins at `created`."""
    span_s = timeline.step_s * len(timeline.slices)
    deadline_s = None if deadline is None else (deadline - created).total_seconds()
    return TimelineChart(
        slices=timeline_slices(timeline, created),
        events=[name for name in (STARTED, *ItemState) if any(name in slice_ for slice_ in timeline.slices)],
        busiest=busiest(timeline),
        deadline=deadline,
        deadline_x=None if deadline_s is None or deadline_s > span_s else round(WIDTH * deadline_s / span_s, 1),
    )


def timeline_slices(timeline: Timeline, begin: datetime) -> list[Slice]:
    """Return the slices of a timeline chart: started runs below the middle line, ended items above it."""
    step = WIDTH / len(timeline.slices)
    maximum = max(*(slice_.get(STARTED, 0) for slice_ in timeline.slices), *timeline.ended) or 1
    slices = []
    for index, slice_ in enumerate(timeline.slices):
        blocks, y = [], float(LANE)
        for state in _ORDER:
            if count := slice_.get(state, 0):
                height = LANE * count / maximum
                y -= height
                blocks.append(Block(state, round(y, 2), round(height, 2)))
        if count := slice_.get(STARTED, 0):
            blocks.append(Block(STARTED, float(LANE), round(LANE * count / maximum, 2)))
        title = _title(slice_, begin + timedelta(seconds=index * timeline.step_s), timeline.step_s)
        slices.append(Slice(round(index * step, 2), round(max(step - 1, 1), 2), blocks, title))
    return slices


def busiest(timeline: Timeline) -> str:
    """Return the maximum number of events in one slice, in words."""
    started = max(slice_.get(STARTED, 0) for slice_ in timeline.slices)
    runs, items = pluralize(started, "run"), pluralize(max(timeline.ended), "item")
    return f"in {duration(timeline.step_s)} at most {runs} started and {items} ended"


def _title(slice_: Mapping[str, int], since: datetime, step_s: float) -> str:
    parts = [f"{slice_[name]:,} {item_words(name)}" for name in (STARTED, *_ORDER) if slice_.get(name)]
    return f"{since:%Y-%m-%d %H:%M:%S} UTC, {duration(step_s)}: {', '.join(parts)}" if parts else ""
