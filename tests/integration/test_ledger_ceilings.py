"""The ceilings of the service on a real Valkey: what a batch and a UTC day may cost, whatever a manifest has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from support.ledger_fixtures import CANCELLED, FAILED, RUNNING, a_batch_config, a_row, counts, dues, succeed

from pipeline.domain.money import from_pico
from pipeline.domain.states import Stop
from pipeline.ledger.keys import ACCOUNT, ACTIVE, SPEND, item_key
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Charge, Counted, SubmissionLeases

SPEC: dict[str, Any] = {"image": None, "prompt": "p", "params": {}}


def a_batch(
    ledger: Ledger, *prices: str | None, batch_id: str = "b", budget_usd: str | None = None, price_usd: str = "0"
) -> None:
    """A running batch with an item for each price."""
    row = a_row(batch_id, len(prices))
    budget = Decimal(budget_usd) if budget_usd else None
    ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=budget, manifest_digest="")
    ledger.batches.accept(batch_id)
    rows = ((f"i{n}", SPEC, Decimal(price) if price else None) for n, price in enumerate(prices))
    ledger.items.load(batch_id, rows)
    ledger.batches.start(batch_id, price_usd=Decimal(price_usd), max_failures=1000)


def claim(ledger: Ledger, *, batch: str | None = None, day: str | None = None, limit: int = 32) -> SubmissionLeases:
    """Lease items under the ceilings of a batch and of a day, and let the vendor accept their runs."""
    ceilings = {"max_batch_usd": batch and Decimal(batch), "max_day_usd": day and Decimal(day)}
    leases = ledger.runs.claim_pending(limit, lease_s=60, max_active=0, **ceilings)  # type: ignore[arg-type]
    for lease in ledger.runs.mark_posting(leases.runs):
        assert ledger.runs.accept(lease.run, lease.lease, f"task-{lease.run.batch}-{lease.run.item}", "token", 0)
    return leases


def items(leases: SubmissionLeases) -> list[str]:
    return [lease.run.item for lease in leases.runs]


def succeed_all(ledger: Ledger, cost: str = "0.09") -> None:
    for due in dues(ledger):
        succeed(ledger, due, cost)


def next_day(ledger: Ledger) -> None:
    """Let the spend of today be that of yesterday."""
    today = int(ledger.redis.time()[0]) // 86_400
    ledger.redis.hset(SPEND, str(today - 1), ledger.redis.hget(SPEND, str(today)) or 0)
    ledger.redis.hdel(SPEND, str(today))


# The ceiling of a batch


@pytest.mark.parametrize("budget", [None, "10.00"])
def test_a_batch_stops_at_the_ceiling_whatever_its_own_budget_is(ledger: Ledger, budget: str | None) -> None:
    a_batch(ledger, *["0.09"] * 5, budget_usd=budget)
    assert items(claim(ledger, batch="0.20")) == ["i0", "i1"]
    succeed_all(ledger)
    leases = claim(ledger, batch="0.20")
    assert (leases.runs, leases.out_of_budget) == ([], ["b"])


def test_a_budget_below_the_ceiling_stays(ledger: Ledger) -> None:
    a_batch(ledger, *["0.09"] * 5, budget_usd="0.10")
    assert items(claim(ledger, batch="0.20")) == ["i0"]


def test_retries_and_charges_above_the_price_do_not_pass_the_ceiling(ledger: Ledger) -> None:
    a_batch(ledger, *["0.09"] * 5)
    claim(ledger, batch="0.40", limit=1)
    (due,) = dues(ledger)
    charge = Charge.of(due, Decimal("0.25"))
    ledger.runs.requeue(due.run, due.lease, RUNNING, delay_s=0, counted=Counted.ATTEMPT, charge=charge)
    assert claim(ledger, batch="0.40").runs == [], "0.15 USD are left, and the vendor charges up to 0.25 USD for a run"


def test_a_retry_after_the_end_does_not_pass_the_ceiling(ledger: Ledger) -> None:
    a_batch(ledger, "0.09", "0.09", "0.09")
    claim(ledger, batch="0.20")
    for due in dues(ledger):
        ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": "no"}, charge=Charge.of(due, Decimal("0.09")))
    ledger.items.cancel_pending("b", Stop.CEILING)
    assert ledger.items.retry("b", [FAILED, CANCELLED]) == 3
    ledger.items.add("b", "i0-take2", {**SPEC, "take_of": "i0"})
    leases = claim(ledger, batch="0.20")
    assert (leases.runs, leases.out_of_budget) == ([], ["b"])


def test_while_the_price_is_unknown_one_run_of_a_batch_shows_it(ledger: Ledger) -> None:
    a_batch(ledger, *[None] * 5)
    assert items(claim(ledger, batch="0.30")) == ["i0"]
    assert claim(ledger, batch="0.30").runs == []
    succeed_all(ledger, "0.12")
    assert items(claim(ledger, batch="0.30")) == ["i1"], "0.18 USD are left, which pay for one run at 0.12"


# The ceiling of a day


def test_runs_beyond_the_ceiling_of_the_day_wait_and_start_on_the_next_day(ledger: Ledger) -> None:
    a_batch(ledger, *["0.09"] * 5)
    assert items(claim(ledger, day="0.20")) == ["i0", "i1"]
    succeed_all(ledger)
    waiting = claim(ledger, day="0.20")
    assert (waiting.runs, waiting.out_of_budget) == ([], [])
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    account = ledger.account.get()
    assert (account.waits_until, account.day_limit_usd, account.day_spend_usd) == (
        midnight, Decimal("0.20"), Decimal("0.18")
    )  # fmt: skip
    assert waiting.next_in_s == pytest.approx((midnight - datetime.now(UTC)).total_seconds(), abs=60)
    assert counts(ledger) == {"pending": 3, "succeeded": 2}
    next_day(ledger)
    assert items(claim(ledger, day="0.20")) == ["i2", "i3"]


def test_the_wait_ends_when_the_ceiling_is_raised(ledger: Ledger) -> None:
    a_batch(ledger, *["0.09"] * 5)
    claim(ledger, day="0.10")
    assert ledger.account.get().waits_until
    assert items(claim(ledger, day="9.00")) == ["i1", "i2", "i3", "i4"]
    assert ledger.account.get().waits_until is None
    claim(ledger)
    assert ledger.account.get().day_limit_usd is None


def test_active_runs_of_all_batches_count_against_the_ceiling_of_the_day(ledger: Ledger) -> None:
    a_batch(ledger, *["0.09"] * 5, batch_id="one")
    a_batch(ledger, *["0.09"] * 5, batch_id="two", budget_usd="9.00")
    assert len(claim(ledger, day="0.40").runs) == 4
    assert claim(ledger, day="0.40").runs == []


def test_a_cheaper_run_of_another_batch_still_fits_into_the_day(ledger: Ledger) -> None:
    a_batch(ledger, "5.00", batch_id="dear")
    a_batch(ledger, "0.05", "0.05", batch_id="cheap")
    leases = claim(ledger, day="0.20")
    assert [(lease.run.batch, lease.run.item) for lease in leases.runs] == [("cheap", "i0"), ("cheap", "i1")]
    assert ledger.account.get().waits_until


def test_while_prices_are_unknown_one_run_of_the_account_shows_one(ledger: Ledger) -> None:
    for batch_id in ("one", "two"):
        a_batch(ledger, *[None] * 3, batch_id=batch_id)
    leases = claim(ledger, day="1.00")
    assert len(leases.runs) == 1
    waiting = claim(ledger, day="1.00")
    assert (waiting.runs, waiting.next_in_s, ledger.account.get().waits_until) == ([], None, None)
    succeed_all(ledger, "0.30")
    assert len(claim(ledger, day="1.00").runs) == 3, "two at 0.30 USD, and one that shows the price of the other batch"


def test_a_charge_outside_of_batches_counts_against_the_ceiling_of_the_day(ledger: Ledger) -> None:
    a_batch(ledger, "0.09")
    ledger.account.add_spend(Decimal("0.95"))
    assert claim(ledger, day="1.00").runs == []


def test_runs_that_the_version_before_started_are_counted(ledger: Ledger) -> None:
    a_batch(ledger, *["0.09"] * 5)
    claim(ledger, limit=2)
    ledger.redis.hdel(ACCOUNT, "day_limit", "day_wait")
    assert items(claim(ledger, day="0.30")) == ["i2"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prices=st.lists(st.integers(1, 50), min_size=1, max_size=12),
    ceiling=st.integers(1, 200),
    steps=st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["pay", "fail", "retry", "keep"])), max_size=10),
)
def test_charges_and_reservations_of_the_day_never_exceed_the_ceiling(
    redis_url: str, prices: list[int], ceiling: int, steps: list[tuple[int, str]]
) -> None:
    with Redis.from_url(redis_url) as client:
        client.flushall()
    ledger, usd = Ledger.connect(redis_url), Decimal("0.01")
    for number, batch_id in enumerate(("one", "two")):
        a_batch(ledger, *[str(price * usd) for price in prices[number::2]], batch_id=batch_id)
    for limit, end in steps:
        claim(ledger, day=str(ceiling * usd), batch="1.00", limit=limit)
        assert committed(ledger) <= ceiling * usd
        if end != "keep":
            end_one(ledger, end)
        assert committed(ledger) <= ceiling * usd
    for batch_id in ("one", "two"):
        cost, held = ledger.redis.hmget(f"dailies:batch:{batch_id}", "cost", "reserved")
        assert from_pico(cost or 0) + from_pico(held or 0) <= 1


def committed(ledger: Ledger) -> Decimal:
    """Return the charges of today and the reservations of all active runs."""
    runs = (member.split(" ") for member in ledger.redis.smembers(ACTIVE))
    reserved = (ledger.redis.hget(item_key(batch, item), "reserved") for batch, item in runs)
    return ledger.account.spend(1)[0][1] + sum((from_pico(pico) for pico in reserved), Decimal(0))


def end_one(ledger: Ledger, end: str) -> None:
    for due in dues(ledger, 1):
        charge = Charge.of(due, due.reserved_usd)
        if end == "pay":
            succeed(ledger, due, str(due.reserved_usd))
        elif end == "fail":
            ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {}, charge=charge)
        else:
            ledger.runs.requeue(due.run, due.lease, RUNNING, delay_s=0, counted=Counted.ATTEMPT, charge=charge)


# Amounts beyond counting


def test_several_charges_beyond_counting_in_a_row_stop_no_run(ledger: Ledger) -> None:
    a_batch(ledger, *["0.09"] * 6)
    claim(ledger)
    for due, end in zip(dues(ledger), ("pay", "fail", "retry") * 2, strict=True):
        charge = Charge.of(due, Decimal(10_000_000))
        if end == "pay":
            succeed(ledger, due, "10000000")
        elif end == "fail":
            assert ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {}, charge=charge).ours
        else:
            assert ledger.runs.requeue(
                due.run, due.lease, RUNNING, delay_s=0, counted=Counted.ATTEMPT, charge=charge
            )  # fmt: skip
    claim(ledger)
    for due in dues(ledger):
        assert ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {}, charge=Charge.of(due, Decimal(10_000_000))).ours
    assert counts(ledger) == {"succeeded": 2, FAILED: 4}
    for _ in range(3):
        ledger.account.add_spend(Decimal(10_000_000))
    assert ledger.account.get().day_spend_usd == Decimal(9_000_000)
