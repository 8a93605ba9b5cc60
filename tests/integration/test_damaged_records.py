"""One record in Redis that cannot be read does not stop the others: it is set aside, counted and shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.ledger_fixtures import RUNNING, SUBMITTING, a_batch, claims, counts, dues, running, succeed

from pipeline.domain.callback_tokens import RunId
from pipeline.errors import InvalidBatchId, InvalidItemId
from pipeline.ledger.keys import PREFIX, item_key, order_key, specs_key
from pipeline.ledger.ledger import Ledger

MEMBERS: list[str | bytes] = [
    "no-item",
    "a:b c d",
    "b ../x",
    "b x:y",
    " ",
    "",
    "b i0 ",
    "b " + "x" * 129,
    "b a..b",
    b"\xff \xfe",
    "b i\n0",
]
"""What no queue of items contains."""


def poison(ledger: Ledger, queue: str, *members: str | bytes) -> None:
    for member in members:
        ledger.redis.zadd(f"{PREFIX}{queue}", {member: 1})


def set_aside_members(ledger: Ledger) -> set[tuple[str, str]]:
    return {(one.queue, one.member) for one in ledger.set_aside.newest(2000)}


@pytest.mark.parametrize("member", MEMBERS)
def test_runs_are_collected_although_a_member_of_the_queue_cannot_be_read(ledger: Ledger, member: str | bytes) -> None:
    a_batch(ledger)
    running(ledger)
    poison(ledger, "due", member)
    claimed = dues(ledger)
    assert {due.run.item for due in claimed} == {"i0", "i1", "i2"}
    for due in claimed:
        succeed(ledger, due)
    assert ledger.redis.zcard(f"{PREFIX}due") == 0
    assert ledger.counters.read().set_aside == 1
    assert [one.queue for one in ledger.set_aside.newest(10)] == ["due"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda ledger: ledger.redis.delete(item_key("b", "i0")),
        lambda ledger: (ledger.redis.delete(item_key("b", "i0")), ledger.redis.set(item_key("b", "i0"), "x")),
        lambda ledger: ledger.redis.hdel(item_key("b", "i0"), "posted"),
        lambda ledger: ledger.redis.hset(item_key("b", "i0"), "posted", "yesterday"),
        lambda ledger: ledger.redis.hset(item_key("b", "i0"), "attempt", "1e3"),
        lambda ledger: ledger.redis.hset(item_key("b", "i0"), "looks", "many"),
        lambda ledger: ledger.redis.hset(item_key("b", "i0"), "reserved", b"\xff"),
    ],
)
def test_a_run_whose_record_is_damaged_stops_no_other_run(ledger: Ledger, damage: Callable[[Ledger], object]) -> None:
    a_batch(ledger)
    running(ledger)
    damage(ledger)
    assert {due.run.item for due in dues(ledger)} == {"i1", "i2"}
    assert dues(ledger) == []
    assert ledger.redis.zscore(f"{PREFIX}due", "b i0") is None


def test_leases_expire_although_members_cannot_be_read(ledger: Ledger) -> None:
    a_batch(ledger)
    claims(ledger, lease_s=0)
    poison(ledger, "leases", *MEMBERS)
    poison(ledger, "adopt", *MEMBERS)
    ledger.redis.sadd(f"{PREFIX}active", *MEMBERS)
    ledger.runs.expire_leases(adopt_wait_s=900, on_unknown="hold")
    assert counts(ledger) == {"pending": 3}
    assert ledger.account.get().active == 0
    assert ledger.redis.zcard(f"{PREFIX}leases") == ledger.redis.zcard(f"{PREFIX}adopt") == 0
    assert ledger.counters.read().set_aside == 3 * len(MEMBERS)


def test_a_slot_of_an_item_that_is_gone_is_free_after_a_sweep(ledger: Ledger) -> None:
    a_batch(ledger)
    running(ledger)
    ledger.redis.delete(item_key("b", "i1"))
    ledger.runs.expire_leases(adopt_wait_s=900, on_unknown="hold")
    assert ledger.account.get().active == 2


def test_lost_runs_are_found_although_members_cannot_be_read(ledger: Ledger) -> None:
    a_batch(ledger)
    for claim in ledger.runs.mark_posting(claims(ledger)):
        assert ledger.runs.mark_unknown(claim.run, claim.lease, adopt_wait_s=900)
    poison(ledger, "search", *MEMBERS, "b i0", "b i1", "b i2")
    ledger.redis.sadd(f"{PREFIX}lost", *MEMBERS)
    poison(ledger, "leases", *MEMBERS)
    ledger.redis.hset(specs_key("b"), "i1", "{")
    assert {run.run.item for run in ledger.lost_runs.claim(100, lease_s=60, max_wait_s=30).runs} == {"i0", "i2"}
    unanswered = ledger.lost_runs.unanswered(100)
    assert unanswered is not None
    assert {run.run.item for run in unanswered} == {"i0", "i2"}


def test_items_are_submitted_although_batches_and_items_cannot_be_read(ledger: Ledger) -> None:
    for member in ("no batch", "../b", "b:specs", ""):
        ledger.redis.zadd(f"{PREFIX}turn", {member: 0})
    ledger.redis.rpush(f"{PREFIX}batch:list", "x")
    ledger.redis.zadd(f"{PREFIX}turn", {"list": 0})
    a_batch(ledger)
    pending = f"{PREFIX}batch:b:pending"
    ledger.redis.zadd(pending, {"x y:z": 1, "not-in-the-batch": 1})
    ledger.redis.hset(item_key("b", "i1"), "attempt", "x")
    assert {claim.run.item for claim in claims(ledger)} == {"i0", "i2"}
    assert ledger.redis.zcard(pending) == 0
    assert ledger.account.get().active == 2
    assert len(ledger.set_aside.newest(100)) == 8


def test_an_item_whose_spec_is_damaged_fails_alone_and_is_listed(ledger: Ledger) -> None:
    a_batch(ledger)
    ledger.redis.hset(specs_key("b"), "i1", '{"image": ')
    assert {claim.run.item for claim in claims(ledger)} == {"i0", "i2"}
    assert counts(ledger) == {"submitting": 2, "failed": 1}
    rows = {row.id: row for row in ledger.items.stream("b")}
    assert rows["i1"].status == "failed"
    assert "damaged" in (rows["i1"].error or "")
    assert rows["i0"].prompt == "p0"


def test_pages_show_items_that_cannot_be_read(ledger: Ledger) -> None:
    a_batch(ledger)
    ledger.redis.set(item_key("b", "i1"), "x")
    page = ledger.queries.item_page("b", 10, states=["pending"], mark="none")
    assert "i1" in [row.id for row in page.items]


def test_a_batch_whose_record_is_damaged_is_left_out_of_lists_and_metrics(ledger: Ledger) -> None:
    a_batch(ledger)
    for key in ("batches", "open"):
        ledger.redis.zadd(f"{PREFIX}{key}", {"b:order": 1, "damaged": 2, "list": 3})
    ledger.redis.hset(f"{PREFIX}batch:damaged", "status", "running")
    ledger.redis.rpush(f"{PREFIX}batch:list", "x")
    assert [row.id for row in ledger.queries.recent_batches()] == ["b"]
    assert ledger.counters.read().items["pending"] == 3
    assert "b:order" not in ledger.batches.open_ids()


def test_notifications_are_claimed_although_a_member_cannot_be_read(ledger: Ledger) -> None:
    a_batch(ledger)
    ledger.redis.hset(f"{PREFIX}batch:b", mapping={"notice": 1, "notice_tries": 0})
    ledger.redis.hset(f"{PREFIX}batch:odd", mapping={"notice": "x", "notice_tries": 0})
    poison(ledger, "notices", "b", "odd", "b:specs", "no batch")
    assert [delivery.batch_id for delivery in ledger.outbox.claim(10, lease_s=60).due] == ["b"]
    assert {member for _, member in set_aside_members(ledger)} == {"odd", "b:specs", "no batch"}


def test_a_damaged_item_does_not_stop_cancel_retry_and_callbacks_of_the_others(ledger: Ledger) -> None:
    a_batch(ledger, items=4)
    first = running(ledger, 2)
    ledger.redis.delete(item_key("b", "i0"))
    ledger.redis.set(item_key("b", "i0"), "x")
    ledger.redis.set(item_key("b", "i2"), "x")
    ledger.items.poll_now("b")
    assert ledger.runs.record_callbacks([(first[0].run, "", ""), (first[1].run, "t", "")]).collect
    ledger.items.cancel_pending("b", "test")
    assert counts(ledger)["cancelled"] >= 1
    assert ledger.items.retry("b", ["cancelled"]) == 1


def test_what_is_set_aside_is_bounded_and_printable(ledger: Ledger) -> None:
    poison(ledger, "due", *(f"x{n}\x1b[31m{'y' * 2000}" for n in range(1500)))
    while dues(ledger, 500) or ledger.redis.zcard(f"{PREFIX}due"):
        pass
    assert ledger.set_aside.number() == 1000
    assert ledger.counters.read().set_aside == 1500
    newest = ledger.set_aside.newest(1)[0]
    assert newest.member.isprintable()
    assert len(newest.member) <= 200
    assert newest.at is not None


def test_a_stale_callback_of_a_damaged_item_is_harmless(ledger: Ledger) -> None:
    ledger.redis.set(item_key("b", "i0"), "x")
    assert not ledger.runs.record_callbacks([(RunId("b", "i0", 1), "", "")]).collect


def test_an_id_that_is_not_valid_is_refused_by_the_ledger(ledger: Ledger) -> None:
    spec: dict[str, Any] = {"image": None, "prompt": "p", "params": {}}
    a_batch(ledger)
    restored = {
        "spec": spec, "state": RUNNING, "attempt": 1, "task": "t", "token": "", "paid": "", "charged": "0",
        "found_by": None, "outcome": None,
    }  # fmt: skip
    for item_id in ("x y", "x:y", "..", "a/b", "", "x\n"):
        with pytest.raises(InvalidItemId):
            ledger.items.load("b", [(item_id, spec, None)])
        with pytest.raises(InvalidItemId):
            ledger.items.add("b", item_id, spec)
        with pytest.raises(InvalidItemId):
            ledger.items.restore("b", [(item_id, restored)], {}, adopt_wait_s=1)
    for batch_id in ("x y", "b:specs", "../b"):
        with pytest.raises(InvalidBatchId):
            a_batch(ledger, batch_id)
    assert ledger.redis.lrange(order_key("b"), 0, -1) == ["i0", "i1", "i2"]
    assert SUBMITTING not in counts(ledger)
