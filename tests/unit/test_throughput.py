"""Throughput of a batch and the time left."""

from __future__ import annotations

import pytest

from pipeline.domain.throughput import Throughput


def test_there_is_no_throughput_before_an_item_has_ended() -> None:
    throughput = Throughput()
    throughput.note(0, 3)
    assert throughput.per_minute(10) is None
    assert throughput.left_s(10, 5) is None


def test_throughput_and_time_left_follow_from_the_samples() -> None:
    throughput = Throughput()
    throughput.note(0, 100)
    throughput.note(30, 110)
    assert throughput.per_minute(30) == 20
    assert throughput.left_s(30, 40) == 120


def test_throughput_falls_while_no_item_ends() -> None:
    throughput = Throughput()
    throughput.note(0, 0)
    throughput.note(10, 10)
    assert throughput.per_minute(60) == 10


def test_old_samples_do_not_count() -> None:
    throughput = Throughput()
    throughput.note(0, 0)
    throughput.note(10, 1000)
    for second in range(20, 1300, 10):
        throughput.note(second, 1000 + second)
    assert throughput.per_minute(1290) == pytest.approx(60, rel=0.1)


def test_a_reopened_batch_starts_with_new_samples() -> None:
    throughput = Throughput()
    throughput.note(0, 0)
    throughput.note(60, 10)
    throughput.note(120, 4)
    assert throughput.per_minute(120) is None
    throughput.note(180, 6)
    assert throughput.per_minute(180) == 2
