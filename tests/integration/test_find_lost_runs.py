"""The search for lost runs in the vendor's list of tasks, on a real ledger, and what the account's refusals lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from support.ledger_fixtures import MODEL, RUNNING, a_batch, claims, counts, dues, running

from jobs import find_lost_runs as job
from jobs.apply_outcome import apply_poll, apply_post
from jobs.context import Context
from jobs.find_lost_runs import find_lost_runs
from jobs.leases import LeaseKeeper
from jobs.run_outcomes import (
    Adopt,
    MarkUnknown,
    Pause,
    PauseModel,
    PostOutcome,
    RecordSuccess,
    Requeue,
    classify_poll,
)
from pipeline.batches.service import Service
from pipeline.domain.states import BatchState
from pipeline.ledger.keys import PREFIX
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import SubmissionLease
from pipeline.net.download import Downloader
from pipeline.settings import Settings
from pipeline.storage.journal import Journal
from pipeline.wiro.client import Task, Wiro
from pipeline.wiro.errors import AccountRefused, WiroError


class ListedTasks:
    """A vendor that lists these tasks, newest first, or refuses to."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.error: WiroError | None = None
        self.good_pages = 0
        """Pages that are listed although there is an error."""
        self.pages = 0
        self.after_page: Callable[[], object] = lambda: None

    def list_tasks(self, *, start: int = 0, limit: int = 100) -> Sequence[Task]:
        self.pages += 1
        if self.error and self.pages > self.good_pages:
            raise self.error
        self.after_page()
        return self.tasks[start : start + limit]


class JournalNotes:
    """Keeps what would be written to S3."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def note(self, folder: str, entry: dict[str, Any]) -> None:
        self.entries.append(entry)


def a_task(number: int, **changes: Any) -> Task:
    task = Task(
        id=str(number), token=f"token-{number}", status="task_start", pexit="", cost_usd=None, elapsed_s=None,
        created=datetime.now(UTC), started=None, finished=None, callback_url="", outputs=(), failure_reason="",
        parameters={"prompt": f"p{number}"}, model=MODEL,
    )  # fmt: skip
    return replace(task, **changes)


@pytest.fixture
def vendor() -> ListedTasks:
    return ListedTasks()


@pytest.fixture
def ctx(redis_url: str, ledger: Ledger, vendor: ListedTasks, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    service = replace(Service.connect(Settings(redis_url=redis_url)), journal=cast(Journal, JournalNotes()))
    context = Context(
        service=service,
        wiro=cast(Wiro, vendor),
        downloader=cast(Downloader, None),
        leases=LeaseKeeper(ledger, 60),
        callback_url=lambda run: f"https://we/{run.item}/{run.attempt}",
        batch_config=service.ledger.batches.config,
    )
    monkeypatch.setattr(job, "context", lambda: context)
    yield context


def lost(ctx: Context, ledger: Ledger, items: int) -> list[SubmissionLease]:
    a_batch(ledger, items=items)
    claimed = ledger.runs.mark_posting(claims(ledger))
    for claim in claimed:
        assert apply_post(ctx, claim, PostOutcome(MarkUnknown()))
    return claimed


def search(ledger: Ledger) -> None:
    for member in ledger.redis.zrange(f"{PREFIX}search", 0, -1):
        ledger.redis.zadd(f"{PREFIX}search", {member: 1})
    find_lost_runs()


def found(ledger: Ledger) -> dict[str, str]:
    """Return {item: task} of the runs that the search has found."""
    return {due.run.item: due.hint_task for due in dues(ledger)}


def test_lost_runs_are_found_in_the_list_of_tasks(ctx: Context, ledger: Ledger, vendor: ListedTasks) -> None:
    lost(ctx, ledger, 3)
    vendor.tasks = [
        a_task(9, callback_url="https://we/i1/2"),
        a_task(8, callback_url="https://we/i1/1"),
        a_task(2),
        a_task(0),
    ]
    search(ledger)
    assert vendor.pages == 2, "one listing serves all lost runs; its second page is empty"
    assert found(ledger) == {"i0": "0", "i1": "8", "i2": "2"}


def test_a_found_run_is_adopted_and_its_journal_records_how(ctx: Context, ledger: Ledger, vendor: ListedTasks) -> None:
    lost(ctx, ledger, 1)
    vendor.tasks = [a_task(0)]
    search(ledger)
    (due,) = dues(ledger)
    adopt = classify_poll(
        due, a_task(0), attempts_allowed=3, poll_delay_s=1, expected_callback_url=None, random_share=0
    )
    assert adopt == Adopt("0", "token-0")
    assert apply_poll(ctx, due, adopt)
    assert counts(ledger) == {RUNNING: 1}
    assert ledger.items.get("b", "i0").found_by == "task list"
    (entry,) = cast(JournalNotes, ctx.service.journal).entries
    assert (entry["do"], entry["task"], entry["found_by"]) == ("task", "0", "task list")


def test_a_task_of_another_attempt_is_not_taken(ctx: Context, ledger: Ledger, vendor: ListedTasks) -> None:
    a_batch(ledger, "accepted", items=1)
    (claim,) = ledger.runs.mark_posting(claims(ledger))
    ledger.runs.accept(claim.run, claim.lease, "7", "token-7", 60)
    lost(ctx, ledger, 1)
    vendor.tasks = [a_task(7, parameters={"prompt": "p0"})]
    search(ledger)
    assert found(ledger) == {}


def test_a_task_that_a_run_in_flight_may_own_is_not_taken(ctx: Context, ledger: Ledger, vendor: ListedTasks) -> None:
    lost(ctx, ledger, 1)
    a_batch(ledger, "posting", items=1)
    ledger.runs.mark_posting(claims(ledger))
    vendor.tasks = [a_task(0)]
    search(ledger)
    assert found(ledger) == {}


def test_where_listing_is_refused_runs_stay_unknown_and_the_search_is_repeated(
    ctx: Context, ledger: Ledger, vendor: ListedTasks
) -> None:
    lost(ctx, ledger, 2)
    vendor.error = AccountRefused("You don't have any permission for this action.")
    search(ledger)
    assert counts(ledger) == {"unknown": 2}
    vendor.error = None
    vendor.tasks = [a_task(0), a_task(1)]
    search(ledger)
    assert found(ledger) == {"i0": "0", "i1": "1"}


def test_status_says_that_the_list_of_tasks_cannot_be_read_and_until_when(
    ctx: Context, ledger: Ledger, vendor: ListedTasks, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.cli.descriptions import print_batch
    from pipeline.cli.terminal import console

    def shown() -> str:
        print_batch(console(), ledger, ledger.batches.get("b"))
        return " ".join(capsys.readouterr().out.split())

    lost(ctx, ledger, 1)
    vendor.error = AccountRefused("You don't have any permission for this action.")
    search(ledger)
    assert "could not read the vendor's list of tasks: You don't have any permission" in shown()
    ledger.redis.zadd(f"{PREFIX}adopt", {"b i0": 1})
    assert ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="resubmit") == ["b"], "it is held, not bought again"
    assert "proves nothing" in shown()
    assert "retry b --status unknown" in shown()
    vendor.error, vendor.tasks = None, [a_task(0)]
    search(ledger)
    assert ledger.lost_runs.problem() == ""


def test_a_failed_page_loses_no_run_that_is_known_by_its_callback_url(
    ctx: Context, ledger: Ledger, vendor: ListedTasks
) -> None:
    lost(ctx, ledger, 2)
    vendor.tasks = [a_task(9, callback_url="https://we/i1/1"), a_task(0), *map(a_task, range(1000, 1200))]
    vendor.error, vendor.good_pages = WiroError("Bad gateway"), 1
    search(ledger)
    assert found(ledger) == {"i1": "9"}, "an older task may have the parameters of i0, too"


def test_a_search_that_loses_its_lease_matches_by_callback_url_only(
    ctx: Context, ledger: Ledger, vendor: ListedTasks
) -> None:
    lost(ctx, ledger, 2)
    vendor.tasks = [a_task(9, callback_url="https://we/i1/1"), a_task(0), *map(a_task, range(1000, 1200))]
    vendor.after_page = lambda: ledger.redis.delete(f"{PREFIX}search_lease")
    search(ledger)
    assert found(ledger) == {"i1": "9"}, "an older task may have the parameters of i0, too"


def test_without_lost_runs_nothing_is_listed(ctx: Context, ledger: Ledger, vendor: ListedTasks) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    find_lost_runs()
    assert vendor.pages == 0


def test_a_refused_model_pauses_its_batches_only_and_spends_no_attempt(ctx: Context, ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    a_batch(ledger, "same", items=1)
    a_batch(ledger, "other", items=1)
    text = str(ledger.redis.hget(f"{PREFIX}batch:other", "plan")).replace(MODEL, "another/model")
    ledger.redis.hset(f"{PREFIX}batch:other", "plan", text)
    claimed = ledger.runs.mark_posting(claims(ledger, 3))
    claim = next(claim for claim in claimed if claim.run.batch == "b")
    reason = "This model is not allowed in your team."
    apply_post(ctx, claim, PostOutcome(Requeue(0, is_refusal=False), PauseModel(reason)))
    rows = {batch: ledger.batches.get(batch) for batch in ("b", "same", "other")}
    assert {batch: row.status for batch, row in rows.items()} == {
        "b": BatchState.PAUSED,
        "same": BatchState.PAUSED,
        "other": BatchState.RUNNING,
    }
    assert rows["b"].reason == reason
    assert ledger.account.get().paused_reason is None
    ledger.batches.resume("b")
    again = next(each for each in claims(ledger) if each.run.item == claim.run.item)
    assert (again.attempts_spent, again.refusals) == (1, 0)
    assert ctx.refusals.is_refused(MODEL)
    assert not ctx.refusals.is_refused("another/model")


def test_a_refused_account_is_paused_with_its_reason(ctx: Context, ledger: Ledger) -> None:
    a_batch(ledger, items=2)
    (claim,) = ledger.runs.mark_posting(claims(ledger, 1))
    reason = "Your account has been suspended."
    apply_post(ctx, claim, PostOutcome(Requeue(0, is_refusal=False), Pause(reason)))
    assert ledger.account.get().paused_reason == reason
    assert ledger.account.get().probe_at
    assert counts(ledger) == {"pending": 2}
    assert ctx.refusals.is_refused(MODEL)


def test_a_success_without_a_cost_counts_the_price_that_was_reserved(ctx: Context, ledger: Ledger) -> None:
    a_batch(ledger, items=1, price_usd=Decimal("0.09"))
    running(ledger)
    (due,) = dues(ledger)
    assert apply_poll(ctx, due, RecordSuccess(a_task(0, cost_usd=None)))
    assert ledger.batches.get("b").cost_usd == Decimal("0.09")


def test_the_charge_of_a_failed_run_is_in_the_journal(ctx: Context, ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    running(ledger)
    (due,) = dues(ledger)
    assert apply_poll(ctx, due, Requeue(0, error="no face", cost_usd=Decimal("0.05")))
    (entry,) = cast(JournalNotes, ctx.service.journal).entries
    assert entry == {"do": "charge", "item": "i0", "attempt": 1, "cost_usd": "0.05"}
    assert ledger.items.get("b", "i0").cost_usd == Decimal("0.05")


@pytest.mark.parametrize("listing", ["refused", "empty", "short", "oldest first", "whole"])
def test_a_list_that_may_lack_a_task_lets_no_run_be_posted_again(
    ctx: Context, ledger: Ledger, vendor: ListedTasks, listing: str
) -> None:
    (first,) = claims_of(ledger, "before")
    assert ledger.runs.accept(first.run, first.lease, "1", "token-1", 60)
    lost(ctx, ledger, 1)
    known, old = (
        a_task(1),
        [a_task(1000 + n, created=datetime(2020, 1, 1, 0, n // 60, n % 60, tzinfo=UTC)) for n in range(150)],
    )
    match listing:
        case "refused":
            vendor.error = AccountRefused("not allowed")
        case "short":
            vendor.tasks = [a_task(2)]
        case "oldest first":
            # The task of the lost run is on the last page.
            vendor.tasks = [*old, known, a_task(3, callback_url="https://we/i0/1")]
        case "whole":
            vendor.tasks = [known, *reversed(old)]
    search(ledger)
    if listing == "oldest first":
        assert found(ledger) == {"i0": "3"}
        return
    assert found(ledger) == {}
    member = "b i0"
    ledger.redis.zadd(f"{PREFIX}adopt", {member: 1})
    held = ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="resubmit")
    assert held == ([] if listing == "whole" else ["b"])
    assert counts(ledger) == ({"pending": 1} if listing == "whole" else {"unknown": 1})


def claims_of(ledger: Ledger, batch_id: str) -> list[SubmissionLease]:
    a_batch(ledger, batch_id, items=1)
    return ledger.runs.mark_posting(claims(ledger))
