"""The search for lost runs on the ledger: when it is due, which process does it, and its data."""

from __future__ import annotations

from decimal import Decimal

from support.ledger_fixtures import a_batch, claims, counts, dues, running, succeed
from support.waiting import WaitFor

from pipeline.domain.callback_tokens import RunId
from pipeline.ledger.keys import PREFIX
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import CallbackResult, FoundBy, LostRuns, SubmissionLease


def lost(ledger: Ledger, items: int = 1, *, adopt_wait_s: float = 900) -> list[SubmissionLease]:
    """Runs of a batch `b` whose responses were lost."""
    a_batch(ledger, items=items)
    claimed = ledger.runs.mark_posting(claims(ledger))
    for claim in claimed:
        assert ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=adopt_wait_s)
    return claimed


def make_due(ledger: Ledger) -> None:
    for member in ledger.redis.zrange(f"{PREFIX}search", 0, -1):
        ledger.redis.zadd(f"{PREFIX}search", {member: 1})


def search(ledger: Ledger, *, max_wait_s: float = 30) -> LostRuns:
    return ledger.lost_runs.claim(100, lease_s=60, max_wait_s=max_wait_s)


def test_a_lost_run_is_searched_for_after_two_seconds(ledger: Ledger) -> None:
    lost(ledger)
    claimed = search(ledger)
    assert claimed.runs == []
    assert claimed.next_in_s is not None
    assert 1 < claimed.next_in_s <= 2
    assert not ledger.lost_runs.has_due()


def test_one_search_serves_all_lost_runs_and_has_what_was_sent(ledger: Ledger) -> None:
    lost(ledger, 3)
    make_due(ledger)
    assert ledger.lost_runs.has_due()
    runs = search(ledger).runs
    assert [(run.run, run.prompt) for run in runs] == [(RunId("b", f"i{n}", 1), f"p{n}") for n in range(3)]


def test_one_process_at_a_time_searches(ledger: Ledger) -> None:
    lost(ledger)
    make_due(ledger)
    first = search(ledger)
    make_due(ledger)
    assert search(ledger).runs == []
    ledger.lost_runs.release(first)
    assert len(search(ledger).runs) == 1


def test_the_wait_between_searches_doubles_up_to_the_period_of_the_sweep(ledger: Ledger) -> None:
    lost(ledger)
    waits = []
    for _ in range(6):
        make_due(ledger)
        claimed = search(ledger, max_wait_s=30)
        ledger.lost_runs.release(claimed)
        waits.append(round(claimed.next_in_s or 0))
    assert waits == [2, 4, 8, 16, 30, 30]


def test_the_search_ends_with_the_wait_for_the_run(ledger: Ledger) -> None:
    lost(ledger, adopt_wait_s=3)
    make_due(ledger)
    claimed = search(ledger)
    assert len(claimed.runs) == 1
    ledger.lost_runs.release(claimed)
    make_due(ledger)
    claimed = search(ledger)
    assert len(claimed.runs) == 1, "the last search"
    assert claimed.next_in_s is None


def test_a_lease_that_expired_after_posting_is_searched_for(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    ledger.runs.mark_posting(claims(ledger, lease_s=0))
    ledger.runs.expire_leases(adopt_wait_s=900, on_unknown="hold")
    make_due(ledger)
    assert len(search(ledger).runs) == 1


def test_a_callback_that_names_no_task_starts_a_search_at_once_also_for_a_held_run(ledger: Ledger) -> None:
    (claim,) = lost(ledger, adopt_wait_s=0)
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    assert ledger.runs.record_callback(claim.run, "", "") is CallbackResult.SEARCH_DUE
    results = ledger.runs.record_callbacks([(claim.run, "", "")])
    assert (results.collect, results.search) == (False, True)
    assert [run.run for run in search(ledger).runs] == [claim.run]
    assert ledger.runs.record_callback(claim.run, "7", "t", found_by=FoundBy.TASK_LIST) is CallbackResult.RUN_DUE
    (due,) = dues(ledger)
    assert ledger.runs.accept(due.run, due.lease, "7", "t", 0)
    assert counts(ledger) == {"running": 1}


def test_how_a_run_was_found_is_on_its_item_its_batch_and_the_counters(ledger: Ledger) -> None:
    first, second, third = lost(ledger, 3)
    ledger.runs.record_callback(first.run, "7", "t", found_by=FoundBy.TASK_LIST)
    ledger.runs.record_callback(second.run, "8", "t")
    ledger.runs.record_callback(third.run, "9", "t", found_by=None)
    for due in dues(ledger):
        assert ledger.runs.accept(due.run, due.lease, due.hint_task, due.hint_token, 0)
    assert [item.found_by for item in ledger.items.stream("b")] == ["task list", "callback", None]
    assert ledger.batches.get("b").found == {"callback": 1, "task list": 1}
    assert ledger.counters.read().found == {"callback": 1, "task list": 1}


def test_the_next_attempt_was_not_found(ledger: Ledger) -> None:
    (claim,) = lost(ledger)
    ledger.runs.record_callback(claim.run, "7", "t")
    (due,) = dues(ledger)
    ledger.runs.accept(due.run, due.lease, "7", "t", 0)
    (due,) = dues(ledger)
    ledger.runs.end(due.run, due.lease, due.state.RUNNING, due.state.FAILED, {"error": "no"})
    ledger.items.retry("b", ["failed"])
    running(ledger)
    assert ledger.items.get("b", "i0").found_by is None


def test_runs_without_a_known_task_are_those_being_posted_and_unknown_ones_also_held(ledger: Ledger) -> None:
    lost(ledger, 2, adopt_wait_s=0)
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    a_batch(ledger, "c", items=2)
    claims(ledger, 1)
    running(ledger, 1)
    unanswered = ledger.lost_runs.unanswered(100)
    assert unanswered is not None
    assert {(run.run.batch, run.run.item) for run in unanswered} == {("b", "i0"), ("b", "i1"), ("c", "i0")}
    assert ledger.lost_runs.unanswered(2) is None


def test_a_found_run_is_not_lost_any_more(ledger: Ledger) -> None:
    (claim,) = lost(ledger)
    ledger.runs.record_callback(claim.run, "7", "t")
    (due,) = dues(ledger)
    ledger.runs.accept(due.run, due.lease, "7", "t", 0)
    assert ledger.lost_runs.unanswered(10) == []
    assert not ledger.redis.exists(f"{PREFIX}search", f"{PREFIX}lost")


def test_tasks_of_accepted_runs_are_known_also_after_their_end(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (due,) = dues(ledger)
    succeed(ledger, due)
    assert ledger.lost_runs.known_tasks(["task-i0", "task-i1"]) == {"task-i0"}
    assert ledger.lost_runs.known_tasks([]) == set()


def test_the_known_tasks_are_bounded(ledger: Ledger) -> None:
    now = ledger.redis.time()[0] * 1000
    ledger.redis.zadd(f"{PREFIX}tasks", {f"t{n}": now + n for n in range(20_100)})
    ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold")
    assert ledger.lost_runs.known_tasks(["t0", "t99", "t100", "t20099"]) == {"t100", "t20099"}
    ledger.redis.zadd(f"{PREFIX}tasks", {"t20098": now - 8 * 86_400_000, "t20099": now - 6 * 86_400_000})
    ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold")
    assert ledger.lost_runs.known_tasks(["t20098", "t20099"]) == {"t20099"}, "of the last week"


def test_the_tasks_of_a_restored_batch_are_known(ledger: Ledger) -> None:
    from support.ledger_fixtures import a_batch_config, a_row

    row = a_row("b", 2)
    ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=None, manifest_digest="")
    item = {"spec": {"image": None, "prompt": "p", "params": {}}, "attempt": 1, "paid": "", "charged": "",
            "found_by": None, "outcome": None}  # fmt: skip
    items = [
        ("i0", {**item, "state": "running", "task": "7", "token": "t"}),
        ("i1", {**item, "state": "unknown", "task": "", "token": ""}),
    ]
    ledger.items.restore("b", items, {}, adopt_wait_s=900)
    assert ledger.lost_runs.known_tasks(["7"]) == {"7"}
    make_due(ledger)
    assert [run.run.item for run in search(ledger).runs] == ["i1"]


def test_few_runs_are_posted_until_the_account_has_accepted_one(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=20)

    def claim() -> list[SubmissionLease]:
        return ledger.runs.claim_pending(20, lease_s=60, max_active=0, max_unproven=3).runs

    first, *rest = claim()
    assert len(rest) == 2
    assert claim() == []
    assert ledger.runs.accept(first.run, first.lease, "1", "t", 60).name == "ACCOUNT_PROVEN"
    assert ledger.runs.accept(rest[0].run, rest[0].lease, "2", "t", 60).name == "ACCEPTED"
    assert len(claim()) == 17


def test_after_a_pause_the_account_must_accept_a_run_again(ledger: Ledger) -> None:
    a_batch(ledger, items=20)
    running(ledger, 1)
    ledger.account.pause("Your account has been suspended.", probe_after_s=60)
    ledger.account.resume()
    assert len(ledger.runs.claim_pending(20, lease_s=60, max_active=0, max_unproven=3).runs) == 3


def test_a_batch_without_a_price_counts_the_charge_of_a_lost_run(ledger: Ledger) -> None:
    (claim,) = lost(ledger)
    ledger.runs.record_callback(claim.run, "7", "t", found_by=FoundBy.TASK_LIST)
    (due,) = dues(ledger)
    ledger.runs.accept(due.run, due.lease, "7", "t", 0)
    succeed(ledger, dues(ledger)[0], "0.09")
    assert ledger.batches.get("b").cost_usd == Decimal("0.09")
