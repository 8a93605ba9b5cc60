import time
from collections import Counter

import pytest

from pipeline.errors import Unreachable
from pipeline.web.callbacks.buffered_counter import Tally


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock: change its only value."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_a_rush_of_forged_callbacks_is_told_once_a_second(now: list[float]) -> None:
    told: list[tuple[str, int]] = []
    counts = Tally(lambda *what: told.append(what))
    for _ in range(1000):
        counts.count("refused")
    assert told == [("refused", 1)]
    now[0] += 1
    counts.count("refused")
    assert told == [("refused", 1), ("refused", 1000)]


def test_what_could_not_be_told_is_told_later(now: list[float]) -> None:
    told: Counter[str] = Counter()
    is_away = True

    def tell(outcome: str, number: int) -> None:
        if is_away:
            raise Unreachable("Redis is away.")
        told[outcome] += number

    counts = Tally(tell)
    counts.count("unheard")
    is_away = False
    now[0] += 1
    counts.count("refused")
    assert told == {"unheard": 1, "refused": 1}
