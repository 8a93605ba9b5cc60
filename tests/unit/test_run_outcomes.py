"""Classification of posts, polls and copies: every error class of the vendor has its line in a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from jobs.run_outcomes import (
    Accept,
    Adopt,
    BackOff,
    CopyOutputs,
    End,
    EndStopped,
    LimitConcurrency,
    MarkUnknown,
    Pause,
    PauseModel,
    PollTransition,
    PostOutcome,
    RecordSuccess,
    RejectHint,
    Release,
    Requeue,
    StopTask,
    classify_copy_error,
    classify_poll,
    classify_post,
    classify_stop,
    classify_unforeseen,
    classify_unposted,
    end_stopped,
)
from pipeline.domain import retry_policy
from pipeline.domain.callback_tokens import RunId
from pipeline.domain.states import BatchState, ItemState, Stop
from pipeline.errors import CopyFailed, DamagedRecord, NoOutput, OutputGone, StorageError, Unreachable
from pipeline.ledger.records import Counted, Failure, FoundBy, PollLease, SubmissionLease
from pipeline.wiro import errors
from pipeline.wiro.client import Run, Task

SUBMISSION = SubmissionLease(RunId("b", "i", 2), "lease", 2, 0, image=None, prompt="p", params={})
POLL = PollLease(
    run=RunId("b", "i", 2),
    lease="lease",
    batch_status=BatchState.RUNNING,
    state=ItemState.RUNNING,
    attempts_spent=2,
    task_id="t",
    token="token",
    age_s=10,
    failed_polls=0,
    failed_copies=0,
    hint_task="",
    hint_token="",
)
UNKNOWN = replace(POLL, state=ItemState.UNKNOWN)
LISTED = replace(UNKNOWN, hint_by=FoundBy.TASK_LIST)
COLLECTING = replace(POLL, state=ItemState.COLLECTING)
CANCELLING = replace(POLL, batch_status=BatchState.CANCELLING)
TASK = Task(
    id="t",
    token="token",
    status="task_postprocess_end",
    pexit="0",
    cost_usd=Decimal("0.09"),
    elapsed_s=Decimal(6),
    created=datetime(2026, 1, 1, tzinfo=UTC),
    started=None,
    finished=None,
    callback_url="https://x/ours",
    outputs=(),
    failure_reason="no face",
)
ACTIVE = replace(TASK, status="task_start")
FAILED_TASK = replace(TASK, pexit="1")
CANCELLED_TASK = replace(TASK, status="task_cancel")
FAILED = End(ItemState.FAILED, {"error": "m"})
BACK_OFF = BackOff(1.0, "m")
UNCOUNTED = Requeue(0.5, is_refusal=False)
COST = Decimal("0.09")

POSTS: dict[Exception, PostOutcome] = {
    errors.ResponseLost("m"): PostOutcome(MarkUnknown()),
    errors.TooManyTasks("m", 3): PostOutcome(Requeue(0.25), LimitConcurrency(3)),
    errors.TooManyTasks("m"): PostOutcome(Requeue(0.25), LimitConcurrency(None)),
    errors.RateLimited("m"): PostOutcome(Requeue(0.5), BACK_OFF),
    errors.RateLimited("m", 90.0): PostOutcome(Requeue(0.5), BackOff(90.0, "m")),
    errors.NotSent("m"): PostOutcome(Requeue(0.5), BACK_OFF),
    errors.AccountRefused("m"): PostOutcome(UNCOUNTED, Pause("m")),
    errors.InsufficientBalance("m"): PostOutcome(UNCOUNTED, Pause("m")),
    errors.NotAuthorized("m"): PostOutcome(UNCOUNTED, Pause("m")),
    errors.ModelNotAllowed("m"): PostOutcome(UNCOUNTED, PauseModel("m")),
    errors.VendorFault("m"): PostOutcome(Requeue(1.0, error="m"), BACK_OFF),
    errors.VendorFault("m", 90.0): PostOutcome(Requeue(1.0, error="m"), BackOff(90.0, "m")),
    errors.Invalid("m"): PostOutcome(FAILED),
    errors.NotFound("m"): PostOutcome(FAILED),
    errors.TaskNotFound("m"): PostOutcome(FAILED),
    errors.NoSuchEndpoint("m"): PostOutcome(FAILED),
    # `Wiro.run` raises ResponseLost in its place.
    errors.NoResponse("m"): PostOutcome(FAILED),
    errors.WiroError("m"): PostOutcome(FAILED),
    StorageError("m", retryable=True): PostOutcome(Requeue(1.0, error="m")),
    StorageError("m", retryable=False): PostOutcome(FAILED),
}


def post(lease: SubmissionLease, result: object, attempts_allowed: int = 3) -> PostOutcome:
    return classify_post(lease, result, attempts_allowed=attempts_allowed, random_share=0)  # type: ignore[arg-type]


def poll(lease: PollLease, result: Task | errors.WiroError, attempts_allowed: int = 3) -> PollTransition:
    return classify_poll(
        lease,
        result,
        attempts_allowed=attempts_allowed,
        poll_delay_s=110,
        expected_callback_url="https://x/ours",
        random_share=0,
    )


def error_classes(base: type[errors.WiroError] = errors.WiroError) -> Iterator[type[errors.WiroError]]:
    yield base
    for derived in base.__subclasses__():
        yield from error_classes(derived)


def test_the_table_of_posts_has_every_error_class() -> None:
    assert {*error_classes()} == {type(error) for error in POSTS} - {StorageError}


@pytest.mark.parametrize(("error", "outcome"), POSTS.items(), ids=lambda value: type(value).__name__)
def test_every_error_of_a_post_has_its_outcome(error: Exception, outcome: PostOutcome) -> None:
    assert post(SUBMISSION, error) == outcome


def test_an_accepted_run_continues_with_its_task() -> None:
    assert post(SUBMISSION, Run("t", "token")) == PostOutcome(Accept("t", "token"))


@pytest.mark.parametrize("error", [error for error, outcome in POSTS.items() if outcome.transition == FAILED])
def test_an_error_that_fails_an_item_never_slows_down_other_items(error: Exception) -> None:
    assert post(SUBMISSION, error).account_effect is None


@pytest.mark.parametrize("error", [errors.VendorFault("m"), StorageError("m", retryable=True)], ids=str)
def test_the_last_attempt_that_fails_is_the_end_of_the_item(error: Exception) -> None:
    assert post(SUBMISSION, error, attempts_allowed=2).transition == FAILED


@pytest.mark.parametrize("error", [errors.RateLimited("m"), errors.NotSent("m")])
def test_refusals_spend_no_attempt_but_are_limited(error: errors.WiroError) -> None:
    limited = replace(SUBMISSION, refusals=retry_policy.MAX_REFUSALS)
    assert post(SUBMISSION, error, attempts_allowed=1).transition == Requeue(0.5)
    assert post(limited, error).transition == FAILED


@pytest.mark.parametrize("error", [errors.RateLimited("m", 90.0), errors.VendorFault("m", 90.0)])
def test_a_poll_obeys_the_wait_of_the_vendor(error: errors.WiroError) -> None:
    assert poll(POLL, error) == Release(90.0, Failure.REPLY)


ACCOUNT_WIDE = [
    errors.AccountRefused("m"),
    errors.InsufficientBalance("m"),
    errors.NotAuthorized("m"),
    errors.ModelNotAllowed("m"),
]


@pytest.mark.parametrize("error", ACCOUNT_WIDE, ids=lambda error: type(error).__name__)
def test_a_refusal_of_the_account_or_the_model_never_fails_an_item_and_counts_as_nothing(
    error: errors.WiroError,
) -> None:
    refused_often = replace(SUBMISSION, refusals=10_000, attempts_spent=10_000)
    transition = post(refused_often, error, attempts_allowed=1).transition
    assert isinstance(transition, Requeue)
    assert transition.counted is Counted.NOTHING


@pytest.mark.parametrize("error", ACCOUNT_WIDE, ids=lambda error: type(error).__name__)
def test_a_task_that_the_account_may_not_stop_is_stopped_later(error: errors.WiroError) -> None:
    stop = StopTask(ACTIVE, 0.5)
    assert classify_stop(stop, error, poll_delay_s=110) == Release(110, Failure.REPLY)
    assert classify_stop(stop, errors.NotFound("m"), poll_delay_s=110) is stop
    assert classify_stop(stop, None, poll_delay_s=110) is stop


def test_a_full_account_never_fails_an_item_and_waits_at_most_ten_seconds() -> None:
    refused_often = replace(SUBMISSION, refusals=10_000)
    outcome = classify_post(refused_often, errors.TooManyTasks("m"), attempts_allowed=1, random_share=0.99)
    assert outcome.transition == Requeue(retry_policy.MAX_SLOT_WAIT_S)


@pytest.mark.parametrize("error", list(error_classes()), ids=lambda error: error.__name__)
def test_an_error_of_a_poll_changes_nothing_but_the_time_of_the_next_poll(error: type[errors.WiroError]) -> None:
    is_missing = error is errors.TaskNotFound
    is_account_wide = issubclass(error, errors.AccountRefused | errors.ModelNotAllowed)
    for lease in (POLL, COLLECTING, UNKNOWN, CANCELLING):
        released = Release(110 if is_account_wide else 2.0, Failure.REPLY)
        assert poll(lease, error("m")) == (Release(0.5, Failure.POLL) if is_missing else released)


UNANSWERED = [errors.NotAuthorized("m"), errors.NoResponse("m"), errors.VendorFault("m"), errors.Invalid("m")]


@pytest.mark.parametrize("error", UNANSWERED, ids=lambda error: type(error).__name__)
def test_a_run_about_which_the_vendor_reports_nothing_ends(error: errors.WiroError) -> None:
    """Task/Detail may be refused forever, or have a shape that cannot be read."""
    for_a_day = retry_policy.MAX_UNANSWERED_POLLS - 1
    for_a_while = retry_policy.MAX_UNANSWERED_STOPS - 1
    assert isinstance(poll(replace(POLL, failed_replies=for_a_day - 1), error), Release)
    ended = poll(replace(POLL, failed_replies=for_a_day), error)
    assert isinstance(ended, End)
    assert "may be paid" in ended.result["error"]
    copied = poll(replace(COLLECTING, failed_replies=for_a_day), error)
    assert isinstance(copied, End)
    assert "copies it again" in copied.result["error"]
    assert isinstance(poll(replace(CANCELLING, failed_replies=for_a_while), error), EndStopped)
    # The named task is forgotten, and the wait for the callback goes on until it is over.
    assert poll(replace(UNKNOWN, failed_replies=for_a_while), error) == Release(0)


def test_a_task_that_the_account_may_never_stop_does_not_hold_its_batch_for_ever() -> None:
    lease = replace(CANCELLING, failed_replies=retry_policy.MAX_UNANSWERED_STOPS - 1)
    assert isinstance(poll(lease, ACTIVE), EndStopped)


def test_silence_makes_polls_less_frequent() -> None:
    delays = [poll(replace(POLL, failed_replies=number), errors.NoResponse("m")) for number in (0, 1, 2, 50)]
    assert [delay.delay_s for delay in delays if isinstance(delay, Release)] == [2, 4, 8, 30]


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("a key"), DamagedRecord("The plan is damaged.")])
def test_an_unforeseen_error_before_the_post_is_repeated_and_then_fails_the_item(error: Exception) -> None:
    assert classify_unposted(SUBMISSION, error, random_share=0).transition == Requeue(2.0)
    often = replace(SUBMISSION, refusals=retry_policy.MAX_UNPOSTED - 1)
    failed = classify_unposted(often, error, random_share=0).transition
    assert isinstance(failed, End)
    assert failed.result["error"].startswith("The run was not posted, and nothing was paid: ")
    assert "a key" not in failed.result["error"], "an unforeseen message may contain a secret"


@pytest.mark.parametrize("error", [StorageError("m", retryable=False), Unreachable("m")])
def test_an_outage_before_the_post_fails_no_item(error: Exception) -> None:
    often = replace(SUBMISSION, refusals=1000)
    assert classify_unposted(often, error, random_share=0) == PostOutcome(Requeue(30))


def test_an_unforeseen_error_of_a_copy_is_repeated_as_a_failed_copy() -> None:
    assert classify_unforeseen(COLLECTING, KeyError("x"), random_share=0) == Release(0.5, Failure.COPY)
    last = replace(COLLECTING, failed_copies=retry_policy.MAX_COPY_ATTEMPTS - 1)
    assert isinstance(classify_unforeseen(last, KeyError("x"), random_share=0), End)
    assert classify_unforeseen(POLL, KeyError("x"), random_share=0) == Release(2.0, Failure.REPLY)


def test_a_task_that_stays_missing_fails_its_run_but_not_an_unknown_one() -> None:
    missing, last = errors.TaskNotFound("m"), retry_policy.MAX_POLL_ATTEMPTS - 1
    for lease in (POLL, COLLECTING):
        ended = poll(replace(lease, failed_polls=last), missing)
        assert ended == End(ItemState.FAILED, {"error": "The vendor no longer has the task: m"})
    assert poll(replace(UNKNOWN, failed_polls=last), missing) == Release(0)


@pytest.mark.parametrize(
    ("lease", "task", "transition"),
    [
        (POLL, ACTIVE, Release(110)),
        (POLL, TASK, RecordSuccess(TASK)),
        (POLL, FAILED_TASK, Requeue(1.0, error="no face", cost_usd=COST)),
        (POLL, replace(FAILED_TASK, cost_usd=None), Requeue(1.0, error="no face")),
        (POLL, CANCELLED_TASK, End(ItemState.CANCELLED, {"error": "The task was cancelled at the vendor."}, COST)),
        (CANCELLING, ACTIVE, StopTask(ACTIVE, 0.5)),
        (CANCELLING, TASK, RecordSuccess(TASK)),
        (CANCELLING, FAILED_TASK, EndStopped("Stopped at the vendor.", COST)),
        (CANCELLING, CANCELLED_TASK, EndStopped("Stopped at the vendor.", COST)),
        (COLLECTING, TASK, CopyOutputs(TASK)),
        (replace(COLLECTING, batch_status=BatchState.CANCELLING), TASK, CopyOutputs(TASK)),
        (UNKNOWN, ACTIVE, Adopt("t", "token")),
        (UNKNOWN, replace(TASK, callback_url=""), Adopt("t", "token")),
        (UNKNOWN, replace(TASK, callback_url="https://x/other"), RejectHint("t")),
        (LISTED, replace(TASK, callback_url=""), Adopt("t", "token")),
        (LISTED, replace(TASK, callback_url="https://x/other"), RejectHint("t")),
    ],
)
def test_the_state_of_the_task_decides(lease: PollLease, task: Task, transition: PollTransition) -> None:
    assert poll(lease, task) == transition


def test_the_last_attempt_whose_task_failed_is_the_end_of_the_item() -> None:
    assert poll(POLL, FAILED_TASK, attempts_allowed=2) == End(ItemState.FAILED, {"error": "no face"}, COST)


def test_a_task_that_the_vendor_does_not_stop_ends_after_the_last_poll() -> None:
    last = replace(CANCELLING, failed_polls=retry_policy.MAX_POLL_ATTEMPTS - 1)
    assert poll(last, ACTIVE) == EndStopped("The vendor did not confirm that the task was stopped.")


@pytest.mark.parametrize("error", [OutputGone("m"), StorageError("m", retryable=True)], ids=str)
def test_a_copy_that_can_succeed_later_is_repeated_until_the_last_attempt(error: CopyFailed | StorageError) -> None:
    assert classify_copy_error(COLLECTING, error, random_share=0) == Release(0.5, Failure.COPY)
    last = replace(COLLECTING, failed_copies=retry_policy.MAX_COPY_ATTEMPTS - 1)
    ended = classify_copy_error(last, error, random_share=0)
    assert isinstance(ended, End)
    assert ended.to == ItemState.FAILED
    assert "is paid" in ended.result["error"]


def test_a_copy_that_cannot_succeed_is_not_repeated() -> None:
    assert isinstance(classify_copy_error(COLLECTING, CopyFailed("m", retryable=False), random_share=0), End)


def test_a_run_that_ended_well_without_any_output_is_final_at_its_first_copy() -> None:
    ended = classify_copy_error(COLLECTING, NoOutput(), random_share=0)
    assert isinstance(ended, End)
    assert ended.to == ItemState.FAILED
    assert "without any output. The run is paid and is not repeated." in ended.result["error"]
    assert "retry" not in ended.result["error"]


@pytest.mark.parametrize(
    ("reason", "to"),
    [(None, "cancelled"), (Stop.BY_HAND, "cancelled"), (Stop.BUDGET, "cancelled"), (Stop.DEADLINE, "failed")],
)
def test_the_reason_of_a_stopped_batch_decides_the_state_of_its_items(reason: str | None, to: str) -> None:
    ended = End(ItemState(to), {"error": f"{reason or Stop.BY_HAND} d."}, COST)
    assert end_stopped(reason, EndStopped("d.", COST)) == ended


def test_a_task_that_was_found_by_its_parameters_must_have_no_callback_url_if_the_run_has_none() -> None:
    def adopt(lease: PollLease) -> PollTransition:
        return classify_poll(
            lease, TASK, attempts_allowed=3, poll_delay_s=1, expected_callback_url=None, random_share=0
        )

    assert adopt(LISTED) == RejectHint("t")
    assert adopt(UNKNOWN) == Adopt("t", "token")
