import pytest

from pipeline.domain.states import TERMINAL, TRANSITIONS, BatchState, ItemState, Stop, batch_outcome


def test_every_state_has_an_entry_in_the_transitions() -> None:
    assert set(TRANSITIONS) == set(ItemState)


def test_success_is_final() -> None:
    assert TRANSITIONS[ItemState.SUCCEEDED] == frozenset()


def test_every_state_can_reach_a_terminal_state() -> None:
    for start in ItemState:
        reached, front = {start}, {start}
        while front:
            front = {to for state in front for to in TRANSITIONS[state]} - reached
            reached |= front
        assert reached & TERMINAL


@pytest.mark.parametrize(
    ("counts", "stopped", "outcome"),
    [
        ({"succeeded": 3}, None, BatchState.SUCCEEDED),
        ({"succeeded": 2, "failed": 1}, None, BatchState.PARTIAL),
        ({"failed": 2, "unknown": 1}, None, BatchState.FAILED),
        ({"succeeded": 1, "cancelled": 1}, Stop.BY_HAND, BatchState.CANCELLED),
        ({"succeeded": 1, "cancelled": 1}, Stop.BUDGET, BatchState.PARTIAL),
        ({"succeeded": 1, "failed": 1}, Stop.DEADLINE, BatchState.PARTIAL),
        ({"succeeded": 1, "failed": 9}, Stop.FAILURES, BatchState.FAILED),
    ],
)
def test_the_outcome_of_a_batch_follows_from_its_items(
    counts: dict[str, int], stopped: str | None, outcome: BatchState
) -> None:
    assert batch_outcome(counts, stopped) is outcome
