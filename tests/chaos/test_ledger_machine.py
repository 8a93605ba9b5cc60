"""The ledger under random interleavings: its invariants hold wherever workers crash.

Hypothesis simulates any number of workers, receivers and finishers against a real server. A worker crashes by
forgetting its leases. Every ledger method is one atomic script, so a crash between any two commands is a crash between
two rules. Time passes by moving every deadline into the past.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from redis import Redis

from pipeline.domain.callback_tokens import RunId
from pipeline.domain.model import BatchRow, Review
from pipeline.domain.states import TERMINAL, BatchState, ItemState, Stop
from pipeline.ledger.keys import PREFIX
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import BatchConfig, Counted, PollLease, RequeueResult, SubmissionLease

PRICE = Decimal("0.09")
BUDGET = Decimal("0.40")
ITEMS = 6
POST_RESULTS = st.sampled_from(["accepted", "accepted", "lost", "refused", "crash", "late"])
POLL_RESULTS = st.sampled_from(
    ["succeeded", "succeeded", "failed", "retry", "later", "crash", "crash when paid", "copy fails"]
)
RETRIED_STATES = st.sampled_from(["failed", "cancelled", "unknown"])


class Machine(RuleBasedStateMachine):
    """One batch with a budget and one without, and all events that can change them."""

    url: str

    @initialize()
    def begin(self) -> None:
        self.redis: Any = Redis.from_url(self.url, decode_responses=True)
        self.redis.flushall()
        self.ledger = Ledger.connect(self.url)
        self.claims: list[SubmissionLease] = []
        self.posting: list[SubmissionLease] = []
        self.dues: list[PollLease] = []
        self.posted: Counter[tuple[str, str]] = Counter()
        """active runs at the vendor, without those that a person agreed to repeat"""
        self.tasks: dict[RunId, str] = {}
        self.paid: set[tuple[str, str]] = set()
        self.succeeded: set[tuple[str, str]] = set()
        for batch, budget in (("rich", None), ("poor", BUDGET)):
            self._open(batch, budget)

    def _open(self, batch: str, budget: Decimal | None) -> None:
        row = BatchRow(
            id=batch, name=batch, model="a/b", status=BatchState.QUEUED, counts={}, total=ITEMS, cost_usd=Decimal(0),
            created=datetime.now(UTC), finished=None, output=f"s3://x/{batch}/", trigger="cli",
        )  # fmt: skip
        config = BatchConfig("a/b", "image", {}, 3, row.output, None)
        assert self.ledger.batches.open(row, config, max_active=0, budget_usd=budget, manifest_digest="")
        self.ledger.items.load(
            batch, ((f"i{n}", {"image": None, "prompt": "p", "params": {}}, None) for n in range(ITEMS))
        )
        self.ledger.batches.accept(batch)
        self.ledger.batches.start(batch, price_usd=PRICE, max_failures=4)

    # Workers that submit

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        self.claims += self.ledger.runs.claim_pending(limit, lease_s=60, max_active=8).runs

    @precondition(lambda self: self.claims)
    @rule()
    def mark_posting(self) -> None:
        self.posting += self.ledger.runs.mark_posting(self.claims)
        self.claims = []

    @rule(limit=st.integers(1, 6), result=POST_RESULTS)
    def submit(self, limit: int, result: str) -> None:
        self.claim(limit)
        self.mark_posting()
        while self.posting:
            self._post(self.posting.pop(), result)

    @precondition(lambda self: self.posting)
    @rule(data=st.data(), result=POST_RESULTS)
    def post(self, data: st.DataObject, result: str) -> None:
        self._post(self._take(self.posting, data), result)

    def _post(self, claim: SubmissionLease, result: str) -> None:
        run = claim.run
        if result == "refused":
            self._requeue_refused(claim)
            return
        self._vendor_accepts(run)
        if result == "accepted":
            if not self.ledger.runs.accept(run, claim.lease, self.tasks[run], "t", 60):
                self.ledger.runs.record_callback(run, self.tasks[run], "t")
        elif result == "lost":
            self.ledger.runs.mark_unknown(run, claim.lease, adopt_wait_s=60)
        elif result == "late":
            self.time_passes("leases")
            self.sweep()
            assert not self.ledger.runs.accept(run, claim.lease, self.tasks[run], "t", 60), "an expired lease is held"
            self.ledger.runs.record_callback(run, self.tasks[run], "t")

    def _requeue_refused(self, claim: SubmissionLease) -> None:
        run = claim.run
        requeued = self.ledger.runs.requeue(run, claim.lease, ItemState.SUBMITTING, delay_s=0, counted=Counted.REFUSAL)
        if requeued is not RequeueResult.NOT_OURS:
            is_cancelled = self.ledger.batches.get(run.batch).status == BatchState.CANCELLING
            assert requeued is (RequeueResult.MUST_END if is_cancelled else RequeueResult.WAITS)
            assert self.ledger.items.get(run.batch, run.item).status == ItemState.PENDING

    def _vendor_accepts(self, run: RunId) -> None:
        item = (run.batch, run.item)
        assert item not in self.paid, f"{item} is paid twice"
        self.posted[item] += 1
        assert self.posted[item] == 1, f"{item} has two active runs"
        self.tasks[run] = f"task-{len(self.tasks)}"

    # Workers that collect

    @rule(limit=st.integers(1, 4))
    def claim_due(self, limit: int) -> None:
        self.dues += self.ledger.runs.claim_due(limit, lease_s=60).runs

    @rule(limit=st.integers(1, 6), result=POLL_RESULTS)
    def collect(self, limit: int, result: str) -> None:
        self.time_passes("due")
        self.claim_due(limit)
        while self.dues:
            self._poll(self.dues.pop(), result)

    @precondition(lambda self: self.dues)
    @rule(data=st.data(), result=POLL_RESULTS)
    def poll(self, data: st.DataObject, result: str) -> None:
        self._poll(self._take(self.dues, data), result)

    def _poll(self, due: PollLease, result: str) -> None:
        if due.state == ItemState.UNKNOWN:
            self.ledger.runs.accept(due.run, due.lease, due.hint_task, due.hint_token, 0)
        elif result == "later":
            self.ledger.runs.release(due, delay_s=0)
        elif due.state == ItemState.COLLECTING:
            self._copied(due, result)
        elif result in ("succeeded", "copy fails", "crash when paid") and self.ledger.runs.record_success(due, PRICE):
            self.posted[due.run.batch, due.run.item] = 0
            self.paid.add((due.run.batch, due.run.item))
            self._copied(due, result)
        elif result == "retry":
            if self.ledger.runs.requeue(due.run, due.lease, ItemState.RUNNING, delay_s=0, counted=Counted.ATTEMPT):
                self.posted[due.run.batch, due.run.item] = 0
        elif result == "failed" and self._end(due, ItemState.RUNNING, ItemState.FAILED):
            self.posted[due.run.batch, due.run.item] = 0

    def _copied(self, due: PollLease, result: str) -> None:
        if result == "copy fails":
            self._end(due, ItemState.COLLECTING, ItemState.FAILED)
        elif result == "succeeded" and self._end(due, ItemState.COLLECTING, ItemState.SUCCEEDED):
            self.succeeded.add((due.run.batch, due.run.item))

    def _end(self, due: PollLease, state: ItemState, to: ItemState) -> bool:
        ended = self.ledger.runs.end(due.run, due.lease, state, to, {})
        if ended.too_many_failures:
            self._stop(due.run.batch, Stop.FAILURES)
        return ended.ours

    # The receiver

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), names_task=st.booleans())
    def record_callback(self, data: st.DataObject, names_task: bool) -> None:
        run = data.draw(st.sampled_from(sorted(self.tasks, key=str)))
        self.ledger.runs.record_callback(run, self.tasks[run] if names_task else "", "")

    # Time, crashes and people

    @precondition(lambda self: self.claims or self.posting or self.dues)
    @rule(leases=st.sampled_from(["claims", "posting", "dues"]))
    def a_worker_crashes(self, leases: str) -> None:
        setattr(self, leases, [])

    @rule(key=st.sampled_from(["leases", "due", "adopt"]))
    def time_passes(self, key: str) -> None:
        for name in self.redis.zrange(PREFIX + key, 0, -1):
            self.redis.zadd(PREFIX + key, {name: 1})

    @rule()
    def sweep(self) -> None:
        self.ledger.runs.expire_leases(adopt_wait_s=60, on_unknown="hold")

    @rule(batch=st.sampled_from(["rich", "poor"]), states=st.sets(RETRIED_STATES, min_size=1))
    def retry(self, batch: str, states: set[str]) -> None:
        if "unknown" in states:
            # A person accepts the risk that the lost run is active.
            for row in self.ledger.items.stream(batch, ["unknown"]):
                self.posted[batch, row.id] = 0
        self.ledger.items.retry(batch, states)

    @rule(batch=st.sampled_from(["rich", "poor"]), chance=st.integers(0, 15))
    def cancel(self, batch: str, chance: int) -> None:
        if chance == 15:
            self._stop(batch, Stop.BY_HAND)

    def _stop(self, batch: str, reason: Stop) -> None:
        among = [BatchState.RUNNING, BatchState.PAUSED]
        if self.ledger.batches.set_status(batch, BatchState.CANCELLING, among=among, reason=reason):
            self.ledger.items.cancel_pending(batch, reason)
            self.ledger.items.poll_now(batch)

    @rule(batch=st.sampled_from(["rich", "poor"]), chance=st.integers(0, 3))
    def pause(self, batch: str, chance: int) -> None:
        (self.ledger.batches.resume if chance else self.ledger.batches.pause)(batch)

    @rule(batch=st.sampled_from(["rich", "poor"]), mark=st.sampled_from(["approved", "rejected"]))
    def review(self, batch: str, mark: str) -> None:
        self.ledger.items.review(batch, "i0", Review(mark))

    @rule(batch=st.sampled_from(["rich", "poor"]))
    def another_take(self, batch: str) -> None:
        self.ledger.items.add(batch, "take", {"image": None, "prompt": "q", "params": {}, "take_of": "i0"})

    @rule(batch=st.sampled_from(["rich", "poor"]), crashes=st.booleans())
    def finish(self, batch: str, crashes: bool) -> None:
        lease = self.ledger.finalization.claim(batch, lease_s=0.001 if crashes else 60)
        if lease and not crashes:
            row = self.ledger.batches.get(batch)
            self.ledger.finalization.complete(batch, lease, BatchState.PARTIAL, datetime.now(UTC), row.revision)

    def _take(self, leases: list[Any], data: st.DataObject) -> Any:
        return leases.pop(data.draw(st.integers(0, len(leases) - 1)))

    # Invariants

    @invariant()
    def counts_equal_the_items(self) -> None:
        for batch in ("rich", "poor"):
            rows = list(self.ledger.items.stream(batch))
            row = self.ledger.batches.get(batch)
            assert Counter(item.status for item in rows) == Counter(row.counts)
            assert len(rows) == row.total

    @invariant()
    def no_item_is_lost(self) -> None:
        """Every item has ended or is in a queue that becomes due."""
        due, leases, adopt = (set(self.redis.zrange(PREFIX + key, 0, -1)) for key in ("due", "leases", "adopt"))
        for batch in ("rich", "poor"):
            pending = set(self.redis.zrange(f"{PREFIX}batch:{batch}:pending", 0, -1))
            ended = set(self.redis.hkeys(f"{PREFIX}batch:{batch}:ended"))
            still_open = 0
            for item in self.ledger.items.stream(batch):
                name = f"{batch} {item.id}"
                if item.id in ended:
                    assert item.status in TERMINAL, f"{name} has ended as {item.status}"
                    continue
                still_open += 1
                queued = {"pending": item.id in pending, "submitting": name in leases, "unknown": name in adopt}
                assert queued.get(item.status, name in due), f"{name} is {item.status} and in no queue"
            assert int(self.redis.hget(f"{PREFIX}batch:{batch}", "open")) == still_open

    @invariant()
    def money_stays_within_the_budget(self) -> None:
        spent, reserved, active = (
            int(value or 0) for value in self.redis.hmget(f"{PREFIX}batch:poor", "cost", "reserved", "active")
        )
        assert spent + reserved <= BUDGET * 10**12
        held = sum(
            not self.redis.sismember(f"{PREFIX}active", f"poor {item.id}")
            for item in self.ledger.items.stream("poor", ["unknown"])
        )
        assert reserved == (active + held) * PRICE * 10**12

    @invariant()
    def every_run_that_may_be_active_has_a_slot(self) -> None:
        active = {
            f"{batch} {item.id}"
            for batch in ("rich", "poor")
            for item in self.ledger.items.stream(batch, ["submitting", "running", "unknown"])
            if item.status != "unknown" or self.redis.zscore(f"{PREFIX}adopt", f"{batch} {item.id}")
        }
        assert self.redis.smembers(f"{PREFIX}active") == active

    @invariant()
    def a_succeeded_item_stays_succeeded(self) -> None:
        for batch, item in self.succeeded:
            assert self.redis.hget(f"{PREFIX}item:{batch}:{item}", "state") == "succeeded"


def test_the_ledger_stays_consistent_under_random_interleavings(valkey: str) -> None:
    Machine.url = valkey
    state = Machine.TestCase.settings
    Machine.TestCase.settings = settings(
        state, max_examples=60, stateful_step_count=80, deadline=None, suppress_health_check=list(HealthCheck)
    )
    Machine.TestCase().runTest()
