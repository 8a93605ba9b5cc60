"""Throughput and remaining time of a batch."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.domain.formatting import time_left
from pipeline.domain.throughput import OpenWork, items_per_minute, remaining_s, running_ages


def test_throughput_is_unknown_before_an_item_has_ended() -> None:
    assert items_per_minute([0, 0], 5, 10) is None
    assert items_per_minute([], 1, 0) is None


def test_throughput_follows_the_ended_items() -> None:
    assert items_per_minute([4, 6, 0], 10, 30) == 20


def test_throughput_falls_while_no_item_ends() -> None:
    assert items_per_minute([10, 0, 0, 0, 0, 0], 10, 60) == 10


def test_items_that_ended_long_ago_do_not_count() -> None:
    ended = [1000] + [10] * 129
    assert items_per_minute(ended, 10, 1290) == pytest.approx(60, rel=0.1)
    assert items_per_minute([1000] + [0] * 129, 10, 1290) is None


def test_the_window_begins_at_a_slice_where_slices_are_long() -> None:
    assert items_per_minute([0, 100, 1], 1000, 2005) == pytest.approx(60 * 101 / 1005)


def test_the_first_moment_gives_no_huge_throughput() -> None:
    assert items_per_minute([2], 1, 0.001) == 120


def test_the_pause_before_another_take_is_no_part_of_the_speed() -> None:
    ended = [60, 0, 0, 0, 0, 1]
    assert items_per_minute(ended, 60, 330) == pytest.approx(60 * 61 / 330)
    assert items_per_minute(ended, 60, 330, since_s=300) == 2
    # The slice in which the batch was opened again began before.
    assert items_per_minute(ended, 60, 330, since_s=310) == 3


def test_without_a_usual_time_the_throughput_gives_the_time_left() -> None:
    assert remaining_s(OpenWork(40), None, 20) == 120
    assert remaining_s(OpenWork(5), None, None) is None


def test_before_the_first_end_the_usual_time_gives_the_time_left() -> None:
    assert remaining_s(OpenWork(0, [(10, 4)]), 60, None) == 50
    # Ten at a time, and none has ended: 30 wait for two more rounds and a half of the first.
    assert remaining_s(OpenWork(20, [(30, 10)]), 60, None) == 150
    assert remaining_s(OpenWork(40, slots=10), 60, None) == 240
    assert remaining_s(OpenWork(4, slots=10), 60, None) == 60


@pytest.mark.parametrize("usual_s", [None, 60])
def test_after_the_last_end_no_time_is_left(usual_s: float | None) -> None:
    assert remaining_s(OpenWork(0), usual_s, 40) is None


def test_no_time_is_promised_before_a_run_has_started_if_no_limit_is_known() -> None:
    assert remaining_s(OpenWork(4000), 60, None) is None
    # Between two rounds nothing runs for a moment.
    assert remaining_s(OpenWork(20), 60, 10) == 120


def test_the_time_left_never_stands_still() -> None:
    work = [OpenWork(0, [(age, 3)]) for age in (58.0, 59.0, 60.0, 61.0, 90.0)]
    shown = [time_left(remaining_s(each, 60, None) or 0.0) for each in work]
    assert shown == [
        "about 2 s",
        "about 1 s",
        "0 s longer than usual",
        "1 s longer than usual",
        "30 s longer than usual",
    ]
    waiting = [remaining_s(OpenWork(20, [(age, 10)]), 60, None) for age in (0, 30, 59, 61, 90, 120)]
    assert all(first != second for first, second in pairwise(waiting))


def test_runs_that_take_longer_than_usual_delay_those_that_wait() -> None:
    assert remaining_s(OpenWork(10, [(120, 10)]), 60, None) == 120


def test_one_slow_run_does_not_delay_those_that_wait() -> None:
    assert remaining_s(OpenWork(9, [(30, 8), (3600, 1)]), 60, None) == pytest.approx((9 * 60 + 8 * 30) / 9)


def test_a_single_first_end_does_not_make_the_time_left_jump() -> None:
    before = remaining_s(OpenWork(30, [(60, 10)]), 60, None)
    after = remaining_s(OpenWork(30, [(61, 9)]), 60, 60 / 61)
    assert before == 180
    assert after == pytest.approx(200, rel=0.1)


def test_the_runs_that_started_last_are_those_that_run() -> None:
    assert running_ages([4, 0, 3], 10, 25, 5) == [(2.5, 3), (20.0, 2)]
    assert running_ages([4], 10, 25, 0) == []
    assert running_ages([], 10, 25, 3) == []
