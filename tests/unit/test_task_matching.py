"""Which task of the vendor's list belongs to which lost run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from jobs.find_lost_runs import MAX_PAGES, PAGE_SIZE, list_tasks
from jobs.task_matching import CLOCK_MARGIN, SentRun, match_by_callback_url, match_by_parameters
from pipeline.domain.callback_tokens import RunId
from pipeline.wiro.client import Task

POSTED = datetime(2026, 1, 1, 12, tzinfo=UTC)
IMAGE = "https://x/1.jpg"
RUN = SentRun(RunId("b", "i0", 1), POSTED, "MiniMax/Model", {"prompt": "nods", "seed": 7}, IMAGE, "inputImage", None)
OTHER = replace(RUN, run=RunId("b", "i1", 1))
PARAMETERS = {"prompt": "nods", "seed": "7", "inputImage": "", "inputImageUrl": IMAGE, "resolution": "720p"}


def a_task(id_: str = "1", **changes: Any) -> Task:
    task = Task(
        id=id_, token=f"token-{id_}", status="task_start", pexit="", cost_usd=None, elapsed_s=None,
        created=POSTED + timedelta(seconds=1), started=None, finished=None, callback_url="", outputs=(),
        failure_reason="", parameters=PARAMETERS, model="minimax/model",
    )  # fmt: skip
    return replace(task, **changes)


def match(*tasks: Task, lost: SentRun = RUN, others: tuple[SentRun, ...] = (), known: tuple[str, ...] = ()) -> str:
    """Return the id of the task of `lost`, '' for none."""
    found = match_by_parameters([lost], tasks, others, known).get(lost.run)
    return found.id if found else ""


def test_a_task_with_the_callback_url_of_a_run_is_its_task() -> None:
    run = replace(RUN, callback_url="https://we/i0")
    other = replace(OTHER, callback_url="https://we/i1")
    tasks = [a_task("1", callback_url="https://we/i2"), a_task("2", callback_url="https://we/i0", parameters={})]
    assert {run: task.id for run, task in match_by_callback_url([run, other], tasks).items()} == {run.run: "2"}


def test_without_callbacks_no_callback_url_matches() -> None:
    assert match_by_callback_url([RUN], [a_task(), a_task("2", callback_url="https://we/i0")]) == {}


def test_one_task_with_the_parameters_prompt_and_image_of_a_run_is_its_task() -> None:
    assert match(a_task()) == "1"
    assert match(a_task(model="")) == "1", "a row need not name its model"


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {**PARAMETERS, "prompt": "smiles"}},
        {"parameters": {**PARAMETERS, "seed": "8"}},
        {"parameters": {**PARAMETERS, "inputImageUrl": "https://x/2.jpg"}},
        {"parameters": {}},
        {"model": "minimax/other"},
        {"callback_url": "https://another.service/hook"},
        {"created": POSTED - CLOCK_MARGIN - timedelta(seconds=1)},
        {"created": None},
    ],
    ids=str,
)
def test_a_task_that_differs_is_not_its_task(changes: dict[str, Any]) -> None:
    assert match(a_task(**changes)) == ""


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (7, "7"),
        (7.0, "7"),
        (Decimal("0.50"), "0.5"),
        (True, "true"),
        (None, ""),
        ("two\r\nlines", "two\nlines"),
        (["a"], "a"),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_a_value_is_the_same_however_the_vendor_stores_it(sent: object, stored: object) -> None:
    run = replace(RUN, params={"prompt": "nods", "value": sent})
    assert match(a_task(parameters={**PARAMETERS, "value": stored}), lost=run) == "1"


def test_an_image_among_several_is_found() -> None:
    urls = {**PARAMETERS, "inputImageUrl": f"https://x/0.jpg,{IMAGE}"}
    assert match(a_task(parameters=urls)) == "1"


def test_an_image_that_was_sent_as_a_file_is_not_compared_but_the_prompt_is() -> None:
    assert match(a_task(), lost=replace(RUN, image=None)) == "1"
    assert match(a_task(parameters={}), lost=replace(RUN, image=None, params={})) == "", "nothing identifies the run"


def test_two_tasks_that_match_are_none() -> None:
    assert match(a_task("1"), a_task("2")) == ""


def test_a_task_that_another_attempt_owns_is_left_out() -> None:
    assert match(a_task("1"), a_task("2"), known=("1",)) == "2"
    assert match(a_task("1"), known=("token-1",)) == ""


def test_two_lost_runs_that_match_the_same_task_get_none() -> None:
    assert match_by_parameters([RUN, OTHER], [a_task()], [], ()) == {}


def test_a_run_that_is_being_posted_with_the_same_parameters_may_own_the_task() -> None:
    assert match(a_task(), others=(OTHER,)) == ""
    assert match(a_task(), others=(RUN, replace(OTHER, params={"prompt": "smiles"}))) == "1"


def pages(*tasks: Task) -> tuple[list[int], Any]:
    """Return the positions that are requested, and a listing of `tasks`."""
    starts: list[int] = []

    def list_page(start: int) -> list[Task]:
        starts.append(start)
        return list(tasks[start : start + PAGE_SIZE])

    return starts, list_page


def listed(number: int, **changes: Any) -> list[Task]:
    """Return tasks, newest first, one for each second back from POSTED."""
    return [a_task(str(n), **{"created": POSTED - timedelta(seconds=n), **changes}) for n in range(number)]


def test_pages_are_read_until_tasks_are_older_than_the_runs() -> None:
    starts, list_page = pages(*listed(500))
    listing = list_tasks(list_page, since=POSTED - timedelta(seconds=150), callback_urls={None})
    assert (starts, len(listing.tasks), listing.problem) == ([0, 100], 200, "")


def test_no_more_pages_are_read_than_needed_to_find_every_callback_url() -> None:
    starts, list_page = pages(a_task("x", callback_url="https://we/i0"), *listed(500))
    list_tasks(list_page, since=POSTED - timedelta(days=1), callback_urls={"https://we/i0"})
    assert starts == [0]


def test_the_number_of_pages_is_bounded() -> None:
    starts, list_page = pages(*listed(PAGE_SIZE * (MAX_PAGES + 5), created=POSTED))
    listing = list_tasks(list_page, since=POSTED, callback_urls={None})
    assert len(starts) == MAX_PAGES
    assert listing.problem == "There are more than 5000 tasks since then."


def test_a_vendor_that_repeats_a_page_ends_the_listing() -> None:
    starts: list[int] = []

    def list_page(start: int) -> list[Task]:
        starts.append(start)
        return listed(PAGE_SIZE)

    listing = list_tasks(list_page, since=POSTED - timedelta(days=1), callback_urls={None})
    assert (len(listing.tasks), listing.problem) == (PAGE_SIZE, "The vendor repeats a page of its list.")
    assert starts == [0, 100]


def test_a_vendor_whose_pages_are_shorter_lists_all_the_same() -> None:
    tasks = listed(120)
    starts: list[int] = []

    def list_page(start: int) -> list[Task]:
        starts.append(start)
        return tasks[start : start + 50]

    listing = list_tasks(list_page, since=POSTED - timedelta(days=1), callback_urls={None})
    assert (starts, len(listing.tasks), listing.problem) == ([0, 50, 100, 120], 120, "")


def test_a_list_with_a_row_that_names_no_task_is_not_whole() -> None:
    rows = [a_task("1"), a_task("", token="")]
    listing = list_tasks(lambda start: rows[start:], since=POSTED - timedelta(days=1), callback_urls={None})
    assert ([task.id for task in listing.tasks], listing.problem) == (["1"], "The list has rows that name no task.")
