from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ledger.timeline import MAX_SLICES, Timeline, timeline_from
from pipeline.web.dashboard import charts

BEGAN = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_a_timeline_covers_the_duration_in_few_slices() -> None:
    assert timeline_from({}, 0) == Timeline(1, ({},))
    assert len(timeline_from({"started:0": "2"}, 9.5).slices) == 10
    timeline = timeline_from({"step": "1000", "started:3": "2", "succeeded:62": "1"}, 100_000)
    assert timeline.step_s == 2048
    assert len(timeline.slices) <= MAX_SLICES
    assert timeline.slices[0] == {"started": 2, "succeeded": 1}


@given(st.dictionaries(st.integers(0, MAX_SLICES - 1), st.integers(1, 10**6), max_size=MAX_SLICES), st.floats(0, 10**8))
def test_no_event_is_lost_however_long_a_batch_runs(started: dict[int, int], elapsed_s: float) -> None:
    timeline = timeline_from({f"started:{position}": str(number) for position, number in started.items()}, elapsed_s)
    assert sum(slice_.get("started", 0) for slice_ in timeline.slices) == sum(started.values())
    assert len(timeline.slices) <= MAX_SLICES


def test_the_chart_draws_ends_above_and_starts_below_the_line() -> None:
    timeline = Timeline(1, ({"started": 4}, {}, {"succeeded": 1, "failed": 1}))
    first, second, third = charts.timeline_slices(timeline, BEGAN)
    assert [(block.event, block.y, block.height) for block in first.blocks] == [("started", charts.LANE, charts.LANE)]
    assert first.title == "2026-07-01 12:00:00 UTC, 1 s: 4 started"
    assert (second.blocks, second.title) == ([], "")
    quarter = charts.LANE / 4
    assert [(block.event, block.y, block.height) for block in third.blocks] == [
        ("succeeded", charts.LANE - quarter, quarter),
        ("failed", charts.LANE - 2 * quarter, quarter),
    ]
    assert third.x + third.width <= charts.WIDTH
    assert charts.busiest(timeline) == "in 1 s at most 4 runs started and 2 items ended"
