"""Counts of forged callbacks: few writes, and none is lost while Redis is unavailable."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from pipeline.errors import Unreachable
from pipeline.web.callbacks.buffered_counter import BufferedCounter


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock: change its only value."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_many_forged_callbacks_cause_one_write_a_second(now: list[float]) -> None:
    writes: list[tuple[str, int]] = []
    counter = BufferedCounter(lambda *args: writes.append(args))
    for _ in range(1000):
        counter.add("rejected")
    assert writes == [("rejected", 1)]
    now[0] += 1
    counter.add("rejected")
    assert writes == [("rejected", 1), ("rejected", 1000)]


def test_a_count_that_was_not_written_is_written_later(now: list[float]) -> None:
    written: Counter[str] = Counter()
    is_away = True

    def write(outcome: str, count: int) -> None:
        if is_away:
            raise Unreachable("Redis is away.")
        written[outcome] += count

    counter = BufferedCounter(write)
    counter.add("unavailable")
    is_away = False
    now[0] += 1
    counter.add("rejected")
    assert written == {"unavailable": 1, "rejected": 1}
