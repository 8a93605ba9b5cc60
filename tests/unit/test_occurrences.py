"""Ticks that are due, caught up, spread and held back. Time is told; weeks pass in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.schedules.occurrences import (
    MAX_CAUGHT_UP,
    Action,
    Due,
    Occurrence,
    OverlapDecision,
    batch_id,
    due,
    hand_batch_id,
    next_times,
    occurrence_from_text,
    occurrence_text,
    overlap_decision,
    start_at,
)
from pipeline.schedules.schedule import CatchUp, Overlap, Schedule

NIGHTLY = Schedule("nightly", "0 2 * * *", "nightly.yaml", "Europe/Berlin")
EVERY_MINUTE = Schedule("often", "* * * * *", "often.yaml")
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def moments(found: Due) -> list[str]:
    return [f"{occurrence.moment:%d %H:%M}" for occurrence in found.occurrences]


def missed(found: Due) -> tuple[str, str] | None:
    return (f"{found.missed.first:%d %H:%M}", f"{found.missed.last:%d %H:%M}") if found.missed else None


def with_catch_up(schedule: Schedule, catch_up: str, hours: float = 24) -> Schedule:
    return replace(schedule, catch_up=CatchUp(catch_up), catch_up_window=f"{hours}h")


def test_a_tick_is_due_from_its_minute_on_and_once() -> None:
    assert moments(due(NIGHTLY, at("2026-07-26T23:59:00"), at("2026-07-26T23:59:59"))) == []
    found = due(NIGHTLY, at("2026-07-26T23:59:59"), at("2026-07-27T00:00:00"))
    assert moments(found) == ["27 00:00"]
    assert found.missed is None
    assert moments(due(NIGHTLY, at("2026-07-27T00:00:00"), at("2026-07-27T00:01:00"))) == []


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_a_heart_beat_that_is_late_loses_no_tick(catch_up: CatchUp) -> None:
    found = due(replace(EVERY_MINUTE, catch_up=catch_up), at("2026-07-27T00:00:10"), at("2026-07-27T00:02:05"))
    assert moments(found) == ["27 00:01", "27 00:02"]
    assert found.missed is None
    assert not any(occurrence.caught_up for occurrence in found.occurrences)


def test_a_year_looked_at_minute_by_minute_has_each_tick_once() -> None:
    hourly = replace(NIGHTLY, cron="30 */6 * * *")
    seen, found = at("2026-01-01T00:00:20"), list[Occurrence]()
    while seen < at("2027-01-01T00:00:00"):
        now = seen + timedelta(minutes=61)
        found += due(with_catch_up(hourly, "all"), seen, now).occurrences
        seen = now
    assert len({occurrence.moment for occurrence in found}) == len(found) == 365 * 4


def test_after_a_week_down_nothing_is_caught_up_where_none_is_asked() -> None:
    found = due(with_catch_up(NIGHTLY, "none"), at("2026-07-20T12:00:00"), at("2026-07-27T12:00:00"))
    assert moments(found) == []
    assert missed(found) == ("21 00:00", "27 00:00")
    assert found.missed
    assert found.missed.why == "Missed: the service was down or late. catch_up: none."


def test_after_a_week_down_the_last_is_caught_up_within_its_window() -> None:
    found = due(with_catch_up(NIGHTLY, "last"), at("2026-07-20T12:00:00"), at("2026-07-27T12:00:00"))
    assert moments(found) == ["27 00:00"]
    assert not found.occurrences[0].caught_up
    assert missed(found) == ("21 00:00", "26 00:00")
    found = due(with_catch_up(NIGHTLY, "last", hours=6), at("2026-07-20T12:00:00"), at("2026-07-27T12:00:00"))
    assert moments(found) == []
    assert missed(found) == ("21 00:00", "27 00:00")


def test_after_a_week_down_all_are_caught_up_within_their_window() -> None:
    found = due(with_catch_up(NIGHTLY, "all", hours=72), at("2026-07-20T12:00:00"), at("2026-07-27T12:00:00"))
    assert moments(found) == ["25 00:00", "26 00:00", "27 00:00"]
    assert all(occurrence.caught_up for occurrence in found.occurrences)
    assert missed(found) == ("21 00:00", "24 00:00")


def test_a_tick_on_time_is_newer_than_the_last_that_was_missed() -> None:
    found = due(with_catch_up(NIGHTLY, "last"), at("2026-07-25T12:00:00"), at("2026-07-27T00:00:30"))
    assert moments(found) == ["27 00:00"]
    assert missed(found) == ("26 00:00", "26 00:00")
    found = due(with_catch_up(NIGHTLY, "all", hours=72), at("2026-07-25T12:00:00"), at("2026-07-27T00:00:30"))
    assert [occurrence.caught_up for occurrence in found.occurrences] == [True, False]


def test_after_a_year_down_what_is_caught_up_has_a_bound() -> None:
    found = due(with_catch_up(EVERY_MINUTE, "all", hours=24 * 31), at("2025-07-27T00:00:00"), at("2026-07-27T00:00:00"))
    assert len([occurrence for occurrence in found.occurrences if occurrence.caught_up]) == MAX_CAUGHT_UP
    assert found.missed
    assert found.missed.first == at("2025-07-27T00:01:00")
    assert found.missed.last == found.occurrences[0].moment - timedelta(minutes=1)


def test_a_clock_that_goes_back_makes_no_tick_twice() -> None:
    found = due(EVERY_MINUTE, at("2026-07-27T00:05:00"), at("2026-07-27T00:04:00"))
    assert found == Due((), None)


def test_jitter_is_the_same_for_everybody_and_spreads_schedules_and_ticks() -> None:
    spread = replace(NIGHTLY, jitter_s=600)
    occurrence = at("2026-07-27T00:00:00")
    assert start_at(spread, occurrence) == start_at(replace(spread), occurrence)
    delays = {(start_at(spread, occurrence + n * DAY) - (occurrence + n * DAY)).total_seconds() for n in range(300)}
    assert len(delays) == 300
    assert all(0 <= delay < 600 for delay in delays)
    assert min(delays) < 60 < 540 < max(delays)
    assert start_at(spread, occurrence) != start_at(replace(spread, name="other"), occurrence)
    assert start_at(NIGHTLY, occurrence) == occurrence


def a_tick(*, caught_up: bool = False) -> Occurrence:
    moment = at("2026-07-27T00:00:00")
    return Occurrence(moment, moment, caught_up)


@pytest.mark.parametrize("overlap", list(Overlap))
def test_with_nothing_running_a_tick_starts(overlap: Overlap) -> None:
    assert overlap_decision(replace(NIGHTLY, overlap=overlap), a_tick(), running=None, ahead=False) == OverlapDecision(
        Action.START
    )


def test_while_a_batch_runs_the_overlap_decides() -> None:
    def decided(overlap: Overlap, *, ahead: bool = False, caught_up: bool = False) -> OverlapDecision:
        schedule = replace(NIGHTLY, overlap=overlap)
        return overlap_decision(schedule, a_tick(caught_up=caught_up), running="nightly-1", ahead=ahead)

    assert decided(Overlap.SKIP) == OverlapDecision(Action.SKIP, "Batch nightly-1 was still running.")
    assert decided(Overlap.QUEUE) == OverlapDecision(Action.WAIT)
    assert decided(Overlap.QUEUE, ahead=True).do is Action.SKIP
    assert decided(Overlap.ALLOW) == OverlapDecision(Action.START)
    assert decided(Overlap.SKIP, ahead=True, caught_up=True) == OverlapDecision(Action.WAIT)
    assert decided(Overlap.ALLOW, caught_up=True) == OverlapDecision(Action.START)


def test_the_next_times_are_told_as_the_clock_on_the_wall_shows_them() -> None:
    found = next_times(NIGHTLY, at("2026-10-23T12:00:00"), 3)
    assert [moment.isoformat() for moment in found] == [
        "2026-10-24T02:00:00+02:00",
        "2026-10-25T02:00:00+02:00",
        "2026-10-26T02:00:00+01:00",
    ]


def test_ids_are_functions_of_what_caused_them() -> None:
    berlin = at("2026-07-27T00:00:00").astimezone(NIGHTLY.zone)
    assert batch_id(NIGHTLY, berlin) == "nightly-20260727T0000Z"
    assert hand_batch_id(NIGHTLY, at("2026-07-27T10:15:30")) == "nightly-20260727T101530Z"
    assert occurrence_from_text(occurrence_text(berlin)) == berlin
