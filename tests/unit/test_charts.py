from datetime import date, timedelta
from decimal import Decimal

from pipeline.domain.states import ended_count
from pipeline.web.dashboard import charts

FIRST = date(2026, 11, 1)


def days(*costs: str) -> list[tuple[date, Decimal]]:
    return [(FIRST + timedelta(days=n), Decimal(cost)) for n, cost in enumerate(costs)]


def test_the_highest_spend_fills_the_height_and_any_spend_is_visible() -> None:
    bars = charts.spend_bars(days("0", "100", "0.0001"))
    assert [bar.height for bar in bars] == [0.0, charts.HEIGHT, 3.0]
    assert bars[-1].x + bars[-1].width <= charts.WIDTH


def test_days_without_any_cost_have_no_bars() -> None:
    assert {bar.height for bar in charts.spend_bars(days("0", "0"))} == {0.0}


def test_the_parts_of_a_progress_bar_are_adjacent() -> None:
    parts = charts.progress_parts({"pending": 5, "succeeded": 4, "failed": 1}, 10)
    assert [(part.state, part.start, part.width) for part in parts] == [
        ("succeeded", 0.0, 40.0),
        ("failed", 40.0, 10.0),
        ("pending", 50.0, 50.0),
    ]


def test_ended_items_are_solid_and_items_at_work_are_pale() -> None:
    counts = {"succeeded": 1, "failed": 1, "cancelled": 1, "unknown": 1, "running": 1, "submitting": 1, "collecting": 1}
    solid = {part.state for part in charts.progress_parts(counts, 7) if part.has_ended}
    assert solid == {"succeeded", "failed", "cancelled", "unknown"}


def test_only_items_in_a_terminal_state_have_ended() -> None:
    assert ended_count({"succeeded": 2, "cancelled": 1, "running": 3, "pending": 9}) == 3
