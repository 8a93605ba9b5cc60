"""Throughput and remaining time of a batch."""

from __future__ import annotations

import pytest

from pipeline.domain.throughput import items_per_minute, remaining_s


def test_throughput_is_unknown_before_an_item_has_ended() -> None:
    assert items_per_minute([0, 0], 5, 10) is None
    assert items_per_minute([], 1, 0) is None
    assert remaining_s(5, None) is None


def test_throughput_and_remaining_time_follow_the_ended_items() -> None:
    assert items_per_minute([4, 6, 0], 10, 30) == 20
    assert remaining_s(40, 20) == 120


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
