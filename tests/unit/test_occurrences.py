"""Occurrences that are due, caught up, delayed and skipped. The time is an argument."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.schedules.occurrences import (
    MAX_CAUGHT_UP,
    Due,
    Occurrence,
    batch_id,
    due,
    manual_batch_id,
    next_times,
    occurrence_from_text,
    occurrence_text,
    start_at,
)
from pipeline.schedules.overlap import Action, OverlapDecision, overlap_decision
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


def test_an_occurrence_is_due_once_from_its_minute_on() -> None:
    assert moments(due(NIGHTLY, at("2026-07-26T23:59:00"), at("2026-07-26T23:59:59"))) == []
    found = due(NIGHTLY, at("2026-07-26T23:59:59"), at("2026-07-27T00:00:00"))
    assert moments(found) == ["27 00:00"]
    assert found.missed is None
    assert moments(due(NIGHTLY, at("2026-07-27T00:00:00"), at("2026-07-27T00:01:00"))) == []


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_a_late_scheduler_run_loses_no_occurrence(catch_up: CatchUp) -> None:
    found = due(replace(EVERY_MINUTE, catch_up=catch_up), at("2026-07-27T00:00:10"), at("2026-07-27T00:02:05"))
    assert moments(found) == ["27 00:01", "27 00:02"]
    assert found.missed is None
    assert not any(occurrence.caught_up for occurrence in found.occurrences)


def test_a_year_checked_hour_by_hour_has_each_occurrence_once() -> None:
    hourly = replace(NIGHTLY, cron="30 */6 * * *")
    seen, found = at("2026-01-01T00:00:20"), list[Occurrence]()
    while seen < at("2027-01-01T00:00:00"):
        now = seen + timedelta(minutes=61)
        found += due(with_catch_up(hourly, "all"), seen, now).occurrences
        seen = now
    assert len({occurrence.moment for occurrence in found}) == len(found) == 365 * 4


def test_after_a_week_down_catch_up_none_catches_nothing_up() -> None:
    found = due(with_catch_up(NIGHTLY, "none"), at("2026-07-20T12:00:00"), at("2026-07-27T12:00:00"))
    assert moments(found) == []
    assert missed(found) == ("21 00:00", "27 00:00")
    assert found.missed
    assert found.missed.reason == "Missed: the service was down or late. catch_up: none."


def test_after_a_week_down_catch_up_last_catches_the_last_one_up() -> None:
    found = due(with_catch_up(NIGHTLY, "last"), at("2026-07-20T12:00:00"), at("2026-07-27T12:00:00"))
    assert moments(found) == ["27 00:00"]
    assert not found.occurrences[0].caught_up
    assert missed(found) == ("21 00:00", "26 00:00")
    found = due(with_catch_up(NIGHTLY, "last", hours=6), at("2026-07-20T12:00:00"), at("2026-07-27T12:00:00"))
    assert moments(found) == []
    assert missed(found) == ("21 00:00", "27 00:00")


def test_after_a_week_down_catch_up_all_catches_all_in_the_window_up() -> None:
    found = due(with_catch_up(NIGHTLY, "all", hours=72), at("2026-07-20T12:00:00"), at("2026-07-27T12:00:00"))
    assert moments(found) == ["25 00:00", "26 00:00", "27 00:00"]
    assert all(occurrence.caught_up for occurrence in found.occurrences)
    assert missed(found) == ("21 00:00", "24 00:00")


def test_an_occurrence_on_time_replaces_the_last_missed_one() -> None:
    found = due(with_catch_up(NIGHTLY, "last"), at("2026-07-25T12:00:00"), at("2026-07-27T00:00:30"))
    assert moments(found) == ["27 00:00"]
    assert missed(found) == ("26 00:00", "26 00:00")
    found = due(with_catch_up(NIGHTLY, "all", hours=72), at("2026-07-25T12:00:00"), at("2026-07-27T00:00:30"))
    assert [occurrence.caught_up for occurrence in found.occurrences] == [True, False]


def test_after_a_year_down_the_catch_up_is_bounded() -> None:
    found = due(with_catch_up(EVERY_MINUTE, "all", hours=24 * 31), at("2025-07-27T00:00:00"), at("2026-07-27T00:00:00"))
    assert len([occurrence for occurrence in found.occurrences if occurrence.caught_up]) == MAX_CAUGHT_UP
    assert found.missed
    assert found.missed.first == at("2025-07-27T00:01:00")
    assert found.missed.last == found.occurrences[0].moment - timedelta(minutes=1)


def test_a_clock_that_is_set_back_repeats_no_occurrence() -> None:
    found = due(EVERY_MINUTE, at("2026-07-27T00:05:00"), at("2026-07-27T00:04:00"))
    assert found == Due((), None)


def test_jitter_is_the_same_on_every_host_and_spreads_schedules_and_occurrences() -> None:
    spread = replace(NIGHTLY, jitter_s=600)
    occurrence = at("2026-07-27T00:00:00")
    assert start_at(spread, occurrence) == start_at(replace(spread), occurrence)
    delays = {(start_at(spread, occurrence + n * DAY) - (occurrence + n * DAY)).total_seconds() for n in range(300)}
    assert len(delays) == 300
    assert all(0 <= delay < 600 for delay in delays)
    assert min(delays) < 60 < 540 < max(delays)
    assert start_at(spread, occurrence) != start_at(replace(spread, name="other"), occurrence)
    assert start_at(NIGHTLY, occurrence) == occurrence


def an_occurrence(*, caught_up: bool = False) -> Occurrence:
    moment = at("2026-07-27T00:00:00")
    return Occurrence(moment, moment, caught_up)


@pytest.mark.parametrize("overlap", list(Overlap))
def test_without_a_running_batch_an_occurrence_starts(overlap: Overlap) -> None:
    assert overlap_decision(
        replace(NIGHTLY, overlap=overlap), an_occurrence(), running=None, is_one_waiting=False
    ) == OverlapDecision(Action.START)


def test_while_a_batch_runs_overlap_decides() -> None:
    def decided(overlap: Overlap, *, is_one_waiting: bool = False, caught_up: bool = False) -> OverlapDecision:
        schedule = replace(NIGHTLY, overlap=overlap)
        return overlap_decision(
            schedule, an_occurrence(caught_up=caught_up), running="nightly-1", is_one_waiting=is_one_waiting
        )

    assert decided(Overlap.SKIP) == OverlapDecision(Action.SKIP, "Batch nightly-1 was still running.")
    assert decided(Overlap.QUEUE) == OverlapDecision(Action.WAIT)
    assert decided(Overlap.QUEUE, is_one_waiting=True).action is Action.SKIP
    assert decided(Overlap.ALLOW) == OverlapDecision(Action.START)
    assert decided(Overlap.SKIP, is_one_waiting=True, caught_up=True) == OverlapDecision(Action.WAIT)
    assert decided(Overlap.ALLOW, caught_up=True) == OverlapDecision(Action.START)


def test_next_times_are_in_local_time() -> None:
    found = next_times(NIGHTLY, at("2026-10-23T12:00:00"), 3)
    assert [moment.isoformat() for moment in found] == [
        "2026-10-24T02:00:00+02:00",
        "2026-10-25T02:00:00+02:00",
        "2026-10-26T02:00:00+01:00",
    ]


def test_batch_ids_depend_only_on_schedule_and_time() -> None:
    berlin = at("2026-07-27T00:00:00").astimezone(NIGHTLY.zone)
    assert batch_id(NIGHTLY, berlin) == "nightly-20260727T0000Z"
    assert manual_batch_id(NIGHTLY, at("2026-07-27T10:15:30")) == "nightly-20260727T101530Z"
    assert occurrence_from_text(occurrence_text(berlin)) == berlin
