"""The ledger against a real server: every promise of its scripts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from redis import Redis
from support.waiting import WaitFor

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.model import BatchRow, Review
from pipeline.domain.states import BatchState, ItemState
from pipeline.errors import NoSuchBatch, NoSuchItem
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import BatchBudget, BatchConfig, Finished, PollLease, Returned, SubmissionLease

MODEL = "minimax/image-to-video-hailuo-01-subject"
PENDING, SUBMITTING, RUNNING, COLLECTING, SUCCEEDED, FAILED, CANCELLED, UNKNOWN = ItemState


def a_row(batch_id: str, items: int) -> BatchRow:
    return BatchRow(
        id=batch_id,
        name=batch_id,
        model=MODEL,
        status=BatchState.QUEUED,
        counts={},
        total=items,
        cost_usd=Decimal(0),
        created=datetime.now(UTC),
        finished=None,
        output=f"s3://bucket/{batch_id}/",
        trigger="cli",
    )


def a_batch_config(row: BatchRow) -> BatchConfig:
    return BatchConfig(MODEL, "inputImageFirst", {}, 3, row.output, None)


def a_batch(
    ledger: Ledger,
    batch_id: str = "b",
    items: int = 3,
    *,
    max_active: int = 0,
    budget_usd: Decimal | None = None,
    price_usd: Decimal = Decimal(0),
    max_failures: int = 1000,
) -> str:
    row = a_row(batch_id, items)
    assert ledger.batches.open(
        row, a_batch_config(row), max_active=max_active, budget_usd=budget_usd, manifest_digest="digest"
    )
    ledger.batches.accept(batch_id)
    ledger.items.load(batch_id, ((f"i{n}", {"image": None, "prompt": f"p{n}", "params": {}}) for n in range(items)))
    ledger.batches.start(batch_id, price_usd=price_usd, max_failures=max_failures)
    return batch_id


def claims(ledger: Ledger, limit: int = 32, *, lease_s: float = 60, max_active: int = 0) -> list[SubmissionLease]:
    return ledger.runs.claim_pending(limit, lease_s=lease_s, max_active=max_active).runs


def running(ledger: Ledger, limit: int = 32, *, look_after_s: float = 0) -> list[SubmissionLease]:
    claimed = ledger.runs.mark_posting(claims(ledger, limit))
    for claim in claimed:
        assert ledger.runs.accept(claim.run, claim.lease, f"task-{claim.run.item}", "token", look_after_s)
    return claimed


def dues(ledger: Ledger, limit: int = 32, *, lease_s: float = 60) -> list[PollLease]:
    return ledger.runs.claim_due(limit, lease_s=lease_s).runs


def counts(ledger: Ledger, batch_id: str = "b") -> dict[str, int]:
    return dict(ledger.batches.get(batch_id).counts)


def succeed(ledger: Ledger, due: PollLease, cost: str = "0.09") -> None:
    assert ledger.runs.record_success(due, Decimal(cost))
    assert ledger.runs.end(due.run, due.lease, COLLECTING, SUCCEEDED, {}).ours


def test_a_batch_id_is_opened_once(ledger: Ledger) -> None:
    a_batch(ledger)
    row = ledger.batches.get("b")
    again = ledger.batches.open(row, ledger.batches.config("b"), max_active=0, budget_usd=None, manifest_digest="other")
    assert not again
    assert ledger.batches.manifest_digest("b") == "digest"


def test_loading_twice_changes_nothing(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    ledger.items.load("b", [("i1", {"image": None, "prompt": "other", "params": {}})])
    assert [(row.id, row.prompt) for row in ledger.items.stream("b")] == [("i0", "p0"), ("i1", "p1"), ("i2", "p2")]
    assert ledger.batches.get("b").total == 3


def test_an_unknown_batch_is_named_in_the_error(ledger: Ledger) -> None:
    with pytest.raises(NoSuchBatch, match="'nope'"):
        ledger.batches.get("nope")


def test_items_are_claimed_in_manifest_order_and_once(ledger: Ledger) -> None:
    a_batch(ledger, items=5)
    first, second = claims(ledger, 2), claims(ledger, 9)
    assert [claim.run.item for claim in first + second] == ["i0", "i1", "i2", "i3", "i4"]
    assert claims(ledger) == []
    assert counts(ledger) == {"submitting": 5}


def test_many_claimers_never_get_the_same_item(ledger: Ledger) -> None:
    a_batch(ledger, items=200)
    got: list[str] = []

    def claim_all() -> None:
        while runs := claims(ledger, 7):
            got.extend(claim.run.item for claim in runs)

    threads = [threading.Thread(target=claim_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 200
    assert len(set(got)) == 200


def test_batches_are_served_in_turns(ledger: Ledger) -> None:
    a_batch(ledger, "big", items=100)
    a_batch(ledger, "small", items=2)
    served = {claim.run.batch for claim in claims(ledger, 10)}
    assert served == {"big", "small"}


def test_the_windows_of_batch_and_account_hold(ledger: Ledger) -> None:
    a_batch(ledger, "narrow", items=10, max_active=2)
    assert len(claims(ledger)) == 2
    a_batch(ledger, "wide", items=10)
    assert len(claims(ledger, max_active=5)) == 3
    assert claims(ledger, max_active=5) == []


def test_the_window_shrinks_to_what_the_vendor_allows_and_grows_with_success(ledger: Ledger) -> None:
    a_batch(ledger, items=40)
    ledger.account.limit_concurrency(2)
    for expected in (2, 2, 3):
        runs = running(ledger)
        assert len(runs) == expected
        for due in dues(ledger):
            succeed(ledger, due)


def test_a_run_that_is_over_frees_its_place(ledger: Ledger) -> None:
    a_batch(ledger, items=2, max_active=1)
    running(ledger)
    assert claims(ledger) == []
    (due,) = dues(ledger)
    assert ledger.runs.record_success(due, Decimal("0.09"))
    assert len(claims(ledger)) == 1


def test_the_budget_is_never_passed_and_what_is_left_over_is_told(ledger: Ledger) -> None:
    a_batch(ledger, items=10, budget_usd=Decimal("0.30"), price_usd=Decimal("0.09"))
    assert len(running(ledger)) == 3
    for due in dues(ledger):
        succeed(ledger, due)
    answer = ledger.runs.claim_pending(5, lease_s=60, max_active=0)
    assert (answer.runs, answer.out_of_budget) == ([], ["b"])
    assert ledger.batches.get("b").cost_usd == Decimal("0.27")


def test_with_an_unknown_price_one_run_alone_shows_it(ledger: Ledger) -> None:
    a_batch(ledger, items=10, budget_usd=Decimal("0.30"))
    assert len(running(ledger)) == 1
    (due,) = dues(ledger)
    succeed(ledger, due)
    assert len(claims(ledger)) == 2


def test_a_turned_away_run_spends_no_attempt_and_a_failed_one_does(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    assert ledger.runs.requeue(claim.run, claim.lease, SUBMITTING, delay_s=0, spent=False) is Returned.WAITS
    (claim,) = claims(ledger)
    assert (claim.run.attempt, claim.attempts_spent, claim.refusals) == (2, 1, 1)
    assert ledger.runs.requeue(claim.run, claim.lease, SUBMITTING, delay_s=0, spent=True) is Returned.WAITS
    (claim,) = claims(ledger)
    assert (claim.run.attempt, claim.attempts_spent) == (3, 2)


def test_an_item_waits_for_its_time(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    ledger.runs.requeue(claim.run, claim.lease, SUBMITTING, delay_s=60, spent=True)
    answer = ledger.runs.claim_pending(5, lease_s=60, max_active=0)
    assert answer.runs == []
    assert answer.next_in_s is not None
    assert 50 < answer.next_in_s <= 60


def test_a_run_never_written_down_goes_again_when_its_lease_ends(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    claims(ledger, lease_s=0)
    assert ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold") == []
    assert counts(ledger) == {"pending": 1}
    (claim,) = claims(ledger)
    assert claim.attempts_spent == 1


def test_without_an_append_only_file_runs_are_written_down_all_the_same(ledger: Ledger) -> None:
    a_batch(ledger)
    ledger.redis.config_set("appendonly", "no")
    try:
        claimed = claims(ledger)
        assert ledger.runs.mark_posting(claimed) == claimed
    finally:
        ledger.redis.config_set("appendonly", "yes")


def test_a_written_down_run_whose_lease_ends_is_unknown_and_then_held(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    assert len(ledger.runs.mark_posting(claims(ledger, lease_s=0))) == 1
    assert ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold") == []
    assert counts(ledger) == {"unknown": 1}
    assert not ledger.batches.has_ended("b")


def test_many_sweepers_give_up_each_lease_once(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=40)
    ledger.runs.mark_posting(claims(ledger, 40, lease_s=0.01))

    def all_held() -> bool:
        with ThreadPoolExecutor(8) as sweepers:
            for _ in range(16):
                sweepers.submit(ledger.runs.expire_leases, adopt_wait_s=0.01, on_unknown="hold")
        return ledger.batches.has_ended("b")

    wait_for(all_held, "every run to be held")
    assert counts(ledger) == {"unknown": 40}
    assert ledger.account.get().active == 0


def test_a_lost_run_is_held_after_its_wait_and_shown_with_what_to_do(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    assert ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    assert ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold") == ["b"]
    (row,) = ledger.items.stream("b")
    assert (row.status, row.attempts) == ("unknown", 1)
    assert "retry" in (row.error or "")
    assert ledger.batches.has_ended("b")


def test_a_lost_run_may_go_again_by_itself(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    assert ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="resubmit") == []
    assert [again.run.attempt for again in claims(ledger)] == [2]


def test_a_callback_brings_a_lost_run_back(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=60)
    assert ledger.runs.record_callback(claim.run, "77", "tok")
    (due,) = dues(ledger)
    assert (due.state, due.hint_task, due.hint_token) == (UNKNOWN, "77", "tok")
    assert ledger.runs.accept(due.run, due.lease, "77", "tok", 0)
    (due,) = dues(ledger)
    assert (due.state, due.task_id, due.token) == (RUNNING, "77", "tok")


def test_a_callback_brings_even_a_held_run_back_and_its_batch_with_it(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0)
    ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold")
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    assert ledger.finalization.complete("b", lease, BatchState.FAILED, datetime.now(UTC), 1)
    assert ledger.runs.record_callback(claim.run, "77", "tok")
    (due,) = dues(ledger)
    assert ledger.runs.accept(due.run, due.lease, "77", "tok", 0)
    row = ledger.batches.get("b")
    assert (row.status, row.revision, row.finished) == ("running", 2, None)
    (due,) = dues(ledger)
    succeed(ledger, due)
    assert counts(ledger) == {"succeeded": 1}


def test_a_callback_before_the_answer_is_heard_once_the_run_is_accepted(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = claims(ledger)
    assert not ledger.runs.record_callback(claim.run, "1", "t")
    assert ledger.runs.accept(claim.run, claim.lease, "1", "t", 600)
    assert len(dues(ledger)) == 1


def test_a_callback_while_the_run_is_looked_at_makes_it_due_again(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (due,) = dues(ledger)
    assert not ledger.runs.record_callback(due.run, "", "")
    assert ledger.runs.release(due, delay_s=600)
    assert len(dues(ledger)) == 1


@pytest.mark.parametrize("attempt", [0, 2, 99])
def test_a_callback_of_another_attempt_does_nothing(ledger: Ledger, attempt: int) -> None:
    a_batch(ledger, items=1)
    (claim,) = running(ledger, look_after_s=600)
    assert not ledger.runs.record_callback(replace(claim.run, attempt=attempt), "1", "t")
    assert not ledger.runs.record_callback(RunId("b", "nobody", 1), "1", "t")
    assert dues(ledger) == []


def test_callbacks_after_the_end_do_nothing(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = running(ledger)
    (due,) = dues(ledger)
    succeed(ledger, due)
    for _ in range(5):
        assert not ledger.runs.record_callback(claim.run, "1", "t")
    assert counts(ledger) == {"succeeded": 1}


def test_a_worker_that_lost_its_lease_writes_nothing(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (stale,) = dues(ledger, lease_s=0)
    (fresh,) = dues(ledger)
    assert not ledger.runs.record_success(stale, Decimal("0.09"))
    assert not ledger.runs.release(stale, delay_s=0)
    assert not ledger.runs.end(stale.run, stale.lease, RUNNING, FAILED, {}).ours
    assert ledger.runs.requeue(stale.run, stale.lease, RUNNING, delay_s=0, spent=True) is Returned.NOT_OURS
    succeed(ledger, fresh)
    assert ledger.batches.get("b").cost_usd == Decimal("0.09")


def test_a_renewed_lease_is_kept(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (due,) = dues(ledger, lease_s=0)
    ledger.runs.renew([(due.run, due.lease)], lease_s=60)
    assert dues(ledger) == []


def test_money_is_counted_to_the_last_digit(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    running(ledger)
    for due in dues(ledger):
        succeed(ledger, due, "0.003510000000")
    assert ledger.batches.get("b").cost_usd == Decimal("0.01053")


def test_too_many_failures_are_told(ledger: Ledger) -> None:
    a_batch(ledger, items=3, max_failures=1)
    running(ledger)
    told = [ledger.runs.end(due.run, due.lease, RUNNING, FAILED, {"error": "no"}) for due in dues(ledger)]
    assert [answer.too_many_failures for answer in told] == [False, True, True]
    assert [answer.last for answer in told] == [False, False, True]


def test_retry_runs_failed_items_again_and_copies_bought_ones_only(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger)
    first, second = dues(ledger)
    ledger.runs.end(first.run, first.lease, RUNNING, FAILED, {"error": "no"})
    ledger.runs.record_success(second, Decimal("0.09"))
    ledger.runs.end(second.run, second.lease, COLLECTING, FAILED, {"error": "copy"})
    assert ledger.items.retry("b", ["failed"]) == 2
    assert [claim.run.item for claim in claims(ledger)] == ["i0"]
    assert [(due.run.item, due.state) for due in dues(ledger)] == [("i1", COLLECTING)]
    assert {row.id: row.attempts for row in ledger.items.stream("b")} == {"i0": 2, "i1": 1}


def test_a_cancelled_batch_ends_what_waits_and_what_comes_back(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    (claim,) = claims(ledger, 1)
    ledger.batches.set_status("b", BatchState.CANCELLING, among=[BatchState.RUNNING], reason="Cancelled by hand.")
    assert ledger.items.cancel_pending("b", "Cancelled by hand.") == 1
    answer = ledger.runs.requeue(claim.run, claim.lease, SUBMITTING, delay_s=0, spent=True)
    assert answer is Returned.MUST_END
    assert ledger.items.cancel_pending("b", "Cancelled by hand.") == 0
    assert counts(ledger) == {"cancelled": 3}


def test_a_paused_account_and_a_backoff_submit_nothing(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    ledger.account.pause("no funds")
    assert claims(ledger) == []
    ledger.account.resume()
    ledger.account.back_off(first_s=60, longest_s=60, reason="rate limit")
    assert claims(ledger) == []
    ledger.account.resume()
    assert len(claims(ledger)) == 3


def test_after_a_backoff_one_run_feels_its_way(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    ledger.account.back_off(first_s=0, longest_s=0, reason="rate limit")
    (claim,) = claims(ledger)
    ledger.runs.accept(claim.run, claim.lease, "2221", "token", 60)
    assert len(claims(ledger)) == 2


def test_two_finishers_one_writes(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    assert ledger.finalization.claim("b", lease_s=60) is None
    running(ledger)
    (due,) = dues(ledger)
    succeed(ledger, due)
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    assert ledger.finalization.claim("b", lease_s=60) is None
    assert ledger.finalization.renew("b", lease, lease_s=60)
    assert ledger.finalization.complete("b", "another", BatchState.SUCCEEDED, datetime.now(UTC), 1) == Finished.NOT_OURS
    assert ledger.finalization.complete("b", lease, BatchState.SUCCEEDED, datetime.now(UTC), 1)
    assert ledger.finalization.claim("b", lease_s=60) is None
    assert ledger.batches.open_ids() == []


def test_an_illegal_transition_is_refused(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (due,) = dues(ledger)
    with pytest.raises(Exception, match="illegal transition running -> succeeded"):
        ledger.runs.end(due.run, due.lease, RUNNING, SUCCEEDED, {})
    assert counts(ledger) == {"running": 1}


def test_nothing_is_left_in_the_queues_of_an_ended_batch(ledger: Ledger, redis_url: str) -> None:
    a_batch(ledger, items=3)
    running(ledger)
    for due in dues(ledger):
        succeed(ledger, due)
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    ledger.finalization.complete("b", lease, BatchState.SUCCEEDED, datetime.now(UTC), 1)
    redis = Redis.from_url(redis_url, decode_responses=True)
    left = [key for key in ("due", "leases", "adopt", "turn", "open", "active") if redis.exists(f"dailies:{key}")]
    assert left == []
    fields = redis.hmget("dailies:batch:b", "active", "reserved", "open")
    assert fields == ["0", "0", "0"]


def test_batches_that_can_use_nothing_do_not_starve_the_others(ledger: Ledger) -> None:
    for n in range(60):
        ledger.batches.pause(a_batch(ledger, f"paused-{n}", items=1))
    a_batch(ledger, "zz", items=1)
    assert [claim.run.batch for claim in claims(ledger) + claims(ledger)] == ["zz"]


def ended(ledger: Ledger, items: int = 1) -> None:
    """A batch whose items have succeeded and whose results are written."""
    a_batch(ledger, items=items)
    running(ledger)
    for due in dues(ledger):
        succeed(ledger, due)
    written(ledger)


def written(ledger: Ledger) -> Finished:
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    return ledger.finalization.complete(
        "b", lease, BatchState.SUCCEEDED, datetime.now(UTC), ledger.batches.get("b").revision
    )


def a_lost_run(ledger: Ledger, wait_for: WaitFor) -> SubmissionLease:
    """A run that was about to be posted when its lease ran out."""
    (claim,) = ledger.runs.mark_posting(claims(ledger, lease_s=0.001))

    def is_lost() -> bool:
        ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold")
        return "unknown" in counts(ledger)

    wait_for(is_lost, "the lease to run out")
    return claim


def test_a_run_that_was_never_posted_is_not_lost(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=1)
    claim = a_lost_run(ledger, wait_for)
    assert counts(ledger) == {"unknown": 1}
    assert ledger.runs.revert_unposted(claim.run)
    assert not ledger.runs.revert_unposted(claim.run)
    assert counts(ledger) == {"pending": 1}
    assert ledger.account.get().active == 0
    assert claims(ledger)[0].attempts_spent == 1


def test_a_run_that_a_callback_spoke_for_was_posted(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=1)
    claim = a_lost_run(ledger, wait_for)
    ledger.runs.record_callback(claim.run, "2221", "")
    assert not ledger.runs.revert_unposted(claim.run)


def test_an_account_without_money_is_tried_by_one_run_at_a_time(ledger: Ledger) -> None:
    a_batch(ledger, items=5)
    ledger.account.pause("Insufficient balance.", probe_after_s=60)
    assert claims(ledger) == []
    account = ledger.account.get()
    assert account.paused_reason == "Insufficient balance."
    assert account.probe_at


def a_probe(ledger: Ledger, wait_for: WaitFor) -> SubmissionLease:
    """The account is paused; the one run that tries it is due, and claimed."""
    ledger.account.pause("Insufficient balance.", probe_after_s=0.001)
    got: list[SubmissionLease] = []

    def claimed() -> bool:
        got.extend(claims(ledger))
        return bool(got)

    wait_for(claimed, "a probe")
    (probe,) = got
    return probe


def test_a_probe_that_succeeds_ends_the_pause(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=5)
    probe = a_probe(ledger, wait_for)
    assert claims(ledger) == []
    ledger.runs.accept(probe.run, probe.lease, "2221", "token", 60)
    assert ledger.account.get().paused_reason is None
    assert len(claims(ledger)) == 4


def test_a_probe_that_fails_is_followed_by_another(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=5)
    first = a_probe(ledger, wait_for)
    second = a_probe(ledger, wait_for)
    assert second.run.item != first.run.item
    assert ledger.account.get().paused_reason == "Insufficient balance."


def test_only_a_person_ends_a_pause_by_hand(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    (claim,) = claims(ledger, 1)
    ledger.account.pause("Paused by hand.")
    ledger.runs.accept(claim.run, claim.lease, "2221", "token", 60)
    assert claims(ledger) == []
    ledger.account.resume()
    assert len(claims(ledger)) == 1


def test_a_run_taken_while_its_batch_is_cancelled_is_looked_at_at_once(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    ledger.batches.set_status("b", BatchState.CANCELLING, among=[BatchState.RUNNING], reason="Cancelled by hand.")
    ledger.runs.accept(claim.run, claim.lease, "2221", "token", 3600)
    assert len(dues(ledger)) == 1


def test_a_verdict_on_an_ended_batch_makes_the_next_revision(ledger: Ledger) -> None:
    ended(ledger)
    assert ledger.finalization.claim("b", lease_s=60) is None
    assert ledger.items.review("b", "i0", Review("approved", "lovely"))
    assert ledger.items.review("b", "i0", Review("rejected", "too dark"))
    row = ledger.batches.get("b")
    assert (row.status, row.revision) == ("succeeded", 2)
    assert [item.review for item in ledger.items.stream("b")] == [Review("rejected", "too dark")]
    assert written(ledger) == Finished.DONE
    assert ledger.finalization.claim("b", lease_s=60) is None


def test_a_verdict_given_while_results_are_written_is_not_forgotten(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    succeed(ledger, dues(ledger)[0])
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    assert ledger.items.review("b", "i0", Review("approved"))
    assert ledger.finalization.complete("b", lease, BatchState.SUCCEEDED, datetime.now(UTC), 1) == Finished.DUE_AGAIN
    assert written(ledger) == Finished.DONE
    assert ledger.batches.get("b").revision == 2


def test_a_verdict_on_a_running_batch_waits_for_its_end(ledger: Ledger) -> None:
    a_batch(ledger)
    assert not ledger.items.review("b", "i0", Review("approved"))
    with pytest.raises(NoSuchItem):
        ledger.items.review("b", "nope", Review("approved"))


def test_another_take_opens_an_ended_batch_again(ledger: Ledger) -> None:
    ended(ledger)
    spec: dict[str, object] = {"image": None, "prompt": "slower", "params": {}, "take_of": "i0"}
    assert ledger.items.add("b", "i0-take2", spec)
    assert not ledger.items.add("b", "i0-take2", spec)
    row = ledger.batches.get("b")
    assert (row.status, row.revision, row.total) == ("running", 2, 2)
    assert [claim.run.item for claim in claims(ledger)] == ["i0-take2"]
    assert [item.take_of for item in ledger.items.stream("b")] == [None, "i0"]


def test_a_late_result_of_a_cancelled_batch_is_shown_as_such(ledger: Ledger, wait_for: WaitFor) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0.001)
    ledger.batches.set_status("b", BatchState.CANCELLING, among=[BatchState.RUNNING], reason="Cancelled by hand.")
    wait_for(
        lambda: ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold"), "the wait for a callback to be over"
    )
    lease = ledger.finalization.claim("b", lease_s=60)
    assert lease
    ledger.finalization.complete("b", lease, BatchState.CANCELLED, datetime.now(UTC), 1)
    assert ledger.runs.record_callback(claim.run, "2221", "token")
    (due,) = dues(ledger)
    ledger.runs.accept(due.run, due.lease, "2221", "token", 0)
    row = ledger.batches.get("b")
    assert (row.status, row.reason) == ("cancelling", "Cancelled by hand.")


def test_items_come_back_as_s3_knows_them(ledger: Ledger) -> None:
    row = a_row("b", 4)
    assert ledger.batches.open(row, a_batch_config(row), max_active=0, budget_usd=None, manifest_digest="")
    spec: dict[str, object] = {"image": None, "prompt": "p", "params": {}}
    base = {"spec": spec, "attempt": 1, "task": "", "token": "", "paid": "", "outcome": None}
    items = [
        ("new", {**base, "state": "pending", "attempt": 0}),
        ("flying", {**base, "state": "running", "task": "2221", "token": "t"}),
        ("lost", {**base, "state": "unknown"}),
        ("done", {**base, "state": "succeeded", "paid": "0.09", "outcome": {"status": "succeeded"}}),
    ]
    for _ in range(2):
        ledger.items.restore("b", items, adopt_wait_s=60)
    ledger.batches.accept("b")
    ledger.batches.start("b", price_usd=Decimal(0), max_failures=4)
    assert counts(ledger) == {"pending": 1, "running": 1, "unknown": 1, "succeeded": 1}
    assert ledger.batches.get("b").cost_usd == Decimal("0.09")
    assert [due.run.item for due in dues(ledger)] == ["flying"]
    assert [claim.run for claim in claims(ledger)] == [RunId("b", "new", 1)]
    assert ledger.runs.record_callback(RunId("b", "lost", 1), "2222", "")


def test_what_a_day_cost_is_known(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger)
    for due in dues(ledger):
        ledger.runs.record_success(due, Decimal("0.09"))
    days = ledger.account.spend(7)
    assert sum(cost for _, cost in days) == Decimal("0.18")
    assert days[-1][0] - days[0][0] == timedelta(days=6)


def test_a_batch_tells_its_budget_and_the_price_of_a_run(ledger: Ledger) -> None:
    a_batch(ledger, budget_usd=Decimal("1.50"), price_usd=Decimal("0.09"))
    assert ledger.batches.budget("b") == BatchBudget(Decimal("1.50"), Decimal("0.09"))
    a_batch(ledger, "c")
    assert ledger.batches.budget("c") == BatchBudget(None, None)


def test_a_lost_run_whose_task_is_known_is_not_given_up_while_the_vendor_is_away(
    ledger: Ledger, wait_for: WaitFor
) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=0.001)
    assert ledger.runs.record_callback(claim.run, "2221", "token")
    (due,) = dues(ledger)
    assert ledger.runs.release(due, delay_s=0.001)
    assert ledger.runs.expire_leases(adopt_wait_s=0.001, on_unknown="hold") == []
    again: list[PollLease] = []

    def looked_at() -> bool:
        again.extend(dues(ledger))
        return bool(again)

    wait_for(looked_at, "another look")
    (due,) = again
    assert ledger.runs.accept(due.run, due.lease, "2221", "token", 0)


def test_a_task_that_is_not_ours_is_forgotten(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=60)
    assert ledger.runs.record_callback(claim.run, "666", "forged")
    (due,) = dues(ledger)
    assert ledger.runs.release(due, delay_s=0)
    assert dues(ledger) == []
    assert ledger.runs.record_callback(claim.run, "2221", "token"), "the true one is heard"


def test_the_slices_of_a_life_double_when_a_batch_outlives_them(ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    running(ledger, 1)
    ledger.redis.hset("dailies:batch:b", "created", int(ledger.redis.hget("dailies:batch:b", "created")) - 3_600_000)
    running(ledger, 1)
    assert ledger.redis.hgetall("dailies:batch:b:life") == {"step": "64000", "started:0": "1", "started:56": "1"}
    assert sum(slice_["started"] for slice_ in ledger.timeline.read("b", 3600).slices if "started" in slice_) == 2
