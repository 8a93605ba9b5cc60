"""What `overlap`, `catch_up` and `jitter_s` of a schedule do, on a real Redis and a real S3 server."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.schedule_folder import BEFORE, MIDNIGHT, MINUTE, ScheduleFolder, at

from pipeline.schedules.runner import MAX_STARTS
from pipeline.schedules.store import Did


def test_overlap_skip_skips_occurrences_while_a_batch_runs(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.often(", overlap: skip")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    for minute in range(5):
        scheduler.start_due(MIDNIGHT + minute * MINUTE)
    assert schedule_folder.batches() == ["often-20260727T0000Z"]
    schedule_folder.end("often-20260727T0000Z")
    scheduler.start_due(MIDNIGHT + 5 * MINUTE)
    assert schedule_folder.batches() == ["often-20260727T0000Z", "often-20260727T0005Z"]
    _, skipped, _ = schedule_folder.records("often")
    assert (skipped.did, skipped.occurrence, skipped.last) == (Did.SKIPPED, MIDNIGHT + MINUTE, MIDNIGHT + 4 * MINUTE)
    assert skipped.why == "Batch often-20260727T0000Z was still running."


def test_overlap_queue_keeps_one_occurrence_waiting(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.often(", overlap: queue")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    for minute in range(4):
        scheduler.start_due(MIDNIGHT + minute * MINUTE)
    assert schedule_folder.batches() == ["often-20260727T0000Z"]
    assert [occurrence.moment for occurrence in schedule_folder.store.read("often").waiting] == [MIDNIGHT + MINUTE]
    schedule_folder.end("often-20260727T0000Z")
    scheduler.start_due(MIDNIGHT + 3 * MINUTE + timedelta(seconds=20))
    assert schedule_folder.batches() == ["often-20260727T0000Z", "often-20260727T0001Z"]
    assert [record.did for record in schedule_folder.records("often")] == [Did.STARTED, Did.SKIPPED, Did.STARTED]


def test_overlap_allow_starts_while_a_batch_runs(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.often(", overlap: allow")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    for minute in range(3):
        scheduler.start_due(MIDNIGHT + minute * MINUTE)
    assert len(schedule_folder.batches()) == 3


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        ("catch_up: none", []),
        ("catch_up: last", ["20260803T0000Z"]),
        ("catch_up: last, catch_up_window: 2h", []),
        ("catch_up: all, overlap: allow, catch_up_window: 72h", ["20260801T0000Z", "20260802T0000Z", "20260803T0000Z"]),
    ],
)
def test_after_a_week_down_catch_up_decides_what_is_started(
    schedule_folder: ScheduleFolder, policy: str, made: list[str]
) -> None:
    schedule_folder.nightly(f", {policy}")
    schedule_folder.scheduler().start_due(BEFORE)
    schedule_folder.scheduler().start_due(at("2026-08-03T12:00:00"))
    assert schedule_folder.batches() == [f"nightly-{occurrence}" for occurrence in made]
    skipped = [record for record in schedule_folder.records() if record.did is Did.SKIPPED]
    assert [record.occurrence for record in skipped] == [MIDNIGHT]
    assert "catch_up" in str(skipped[0].why)


def test_an_occurrence_on_time_waits_behind_those_caught_up(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.often(", catch_up: all, catch_up_window: 5m, overlap: queue")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT + 5 * MINUTE)
    scheduler.start_due(MIDNIGHT + 6 * MINUTE)
    (started,) = schedule_folder.batches()
    waiting = [occurrence.moment.minute for occurrence in schedule_folder.store.read("often").waiting]
    assert (started, waiting) == ("often-20260727T0001Z", [2, 3, 4])
    assert [record.why for record in schedule_folder.records("often") if record.last == MIDNIGHT + 6 * MINUTE] == [
        "Batch often-20260727T0001Z was still running, and one occurrence was already waiting."
    ]


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_caught_up_occurrences_run_one_after_the_other(schedule_folder: ScheduleFolder, overlap: str) -> None:
    schedule_folder.nightly(f", catch_up: all, catch_up_window: 72h, overlap: {overlap}")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    now = at("2026-08-03T12:00:00")
    ids = ["nightly-20260801T0000Z", "nightly-20260802T0000Z", "nightly-20260803T0000Z"]
    for number in range(3):
        scheduler.start_due(now + number * MINUTE)
        scheduler.start_due(now + number * MINUTE)
        assert schedule_folder.batches() == ids[: number + 1]
        schedule_folder.end(ids[number])


def test_a_long_catch_up_is_interrupted_for_other_schedules(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.often(", catch_up: all, catch_up_window: 30m, overlap: allow")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    now = MIDNIGHT + timedelta(hours=3)
    assert scheduler.start_due(now) == now
    assert len(schedule_folder.batches()) == MAX_STARTS
    assert scheduler.start_due(now) != now
    assert len(schedule_folder.batches()) == 30


def test_jitter_delays_the_start_and_schedules_it(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly(", jitter_s: 3600")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    start = scheduler.start_due(MIDNIGHT)
    assert start
    assert MIDNIGHT < start < MIDNIGHT + timedelta(hours=1)
    scheduler.start_due(start - timedelta(seconds=1))
    assert schedule_folder.batches() == []
    scheduler.start_due(start)
    assert schedule_folder.batches() == ["nightly-20260727T0000Z"]


def test_a_schedule_does_not_catch_up_times_at_which_it_was_not_in_the_file(schedule_folder: ScheduleFolder) -> None:
    schedule_folder.nightly(", catch_up: all, catch_up_window: 7d")
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(MIDNIGHT + timedelta(hours=1))
    schedule_folder.schedules()
    day = timedelta(days=1)
    for hours in range(1, 60):
        scheduler.start_due(MIDNIGHT + timedelta(hours=hours))
    schedule_folder.nightly(", catch_up: all, catch_up_window: 7d")
    scheduler.start_due(MIDNIGHT + timedelta(hours=60))
    assert schedule_folder.batches() == []
    scheduler.start_due(MIDNIGHT + 3 * day)
    assert schedule_folder.batches() == ["nightly-20260730T0000Z"]
