from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain import money, retry_policy
from pipeline.domain.retry_policy import Tolerance

AGES = st.floats(0, 1e6)


@given(AGES)
def test_poll_intervals_grow_within_their_limits(age: float) -> None:
    delay = retry_policy.poll_delay(age, expects_callback=False, poll_after_s=120)
    assert retry_policy.FIRST_POLL_S <= delay <= retry_policy.MAX_POLL_S
    assert delay <= retry_policy.poll_delay(age + 1, expects_callback=False, poll_after_s=120)


def test_if_a_callback_is_expected_the_first_poll_waits() -> None:
    assert retry_policy.poll_delay(0, expects_callback=True, poll_after_s=120) == 120
    assert retry_policy.poll_delay(100, expects_callback=True, poll_after_s=120) == 20
    assert retry_policy.poll_delay(121, expects_callback=True, poll_after_s=120) < 60


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_backoff_has_a_minimum_and_a_maximum(attempts: int, chance: float) -> None:
    assert 0.5 <= retry_policy.backoff(attempts, chance) <= retry_policy.MAX_BACKOFF_S


def test_backoff_grows_with_each_attempt() -> None:
    delays = [retry_policy.backoff(attempts, 0.999) for attempts in range(1, 6)]
    assert all(later > earlier for earlier, later in pairwise(delays))


@given(st.decimals(0, 10**6, places=12))
def test_pico_dollars_convert_without_loss(usd: Decimal) -> None:
    assert money.from_pico(money.to_pico(usd)) == usd


def test_a_fraction_of_a_pico_dollar_is_rounded_up() -> None:
    assert money.to_pico(Decimal("0.0000000000001")) == 1


def test_tolerance_is_a_number_or_a_share() -> None:
    assert Tolerance.of("10%", 50).limit == 5
    assert Tolerance.of("3", 50).limit == 3
    assert Tolerance.of("0%", 50).limit == 0
    assert Tolerance.of(None, 50).limit == 50
