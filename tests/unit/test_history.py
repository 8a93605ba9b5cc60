"""The state of each item after a recovery, from manifest, results and journal."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.batches.history import BatchHistory, read_history
from pipeline.domain.model import Item, Limits, Manifest, Review
from pipeline.domain.states import ItemState
from pipeline.storage.journal import DAMAGED

MANIFEST = Manifest(
    name="b",
    model="m/n",
    output=None,
    image_field="image",
    params={},
    limits=Limits(),
    notify=None,
    items=(Item("a", "https://x/1.jpg", "smile"),),
)
RUN = {"do": "run", "item": "a", "attempt": 1}
TASK = {**RUN, "do": "task", "task": "7", "token": "tok"}
BACK = {**RUN, "do": "back"}
END = {**RUN, "do": "end", "cost_usd": "0.09", "outcome": {"status": "succeeded", "outputs": []}}
ROW = {"id": "a", "status": "succeeded", "task_id": "7", "cost_usd": "0.09", "outputs": []}


def history(*entries: dict[str, Any], rows: tuple[dict[str, Any], ...] = ()) -> BatchHistory:
    return read_history(MANIFEST, rows, entries)


def state(*entries: dict[str, Any], rows: tuple[dict[str, Any], ...] = ()) -> ItemState:
    return history(*entries, rows=rows).items["a"].state


def test_an_item_without_a_run_is_pending() -> None:
    assert state() is ItemState.PENDING


def test_a_run_without_a_response_is_unknown() -> None:
    assert state(RUN) is ItemState.UNKNOWN


def test_a_run_that_was_not_accepted_is_pending() -> None:
    assert state(RUN, BACK) is ItemState.PENDING


def test_an_accepted_run_is_running_with_its_task() -> None:
    item = history(RUN, TASK).items["a"]
    assert (item.state, item.task, item.token) == (ItemState.RUNNING, "7", "tok")
    assert state(TASK, BACK) is ItemState.RUNNING


def test_an_ended_item_keeps_its_cost_and_outcome() -> None:
    restored = history(RUN, TASK, END).items["a"].restored()
    assert (restored["state"], restored["paid"], restored["outcome"]) == ("succeeded", "0.09", END["outcome"])


def test_an_entry_of_an_earlier_attempt_is_ignored() -> None:
    assert state({**RUN, "attempt": 2}, TASK) is ItemState.UNKNOWN


def test_the_results_override_the_journal() -> None:
    assert state(RUN, rows=(ROW,)) is ItemState.SUCCEEDED
    assert history(RUN, rows=(ROW,)).matches_results([ROW])


def test_a_reopened_item_is_collected_again_if_it_was_paid() -> None:
    reopen = {"do": "reopen", "states": ["succeeded"]}
    assert state(RUN, TASK, END, reopen) is ItemState.COLLECTING
    assert state(reopen, rows=(ROW,)) is ItemState.COLLECTING, "results.json names its task"
    without_task = {**ROW, "task_id": None}
    assert state(reopen, rows=(without_task,)) is ItemState.PENDING, "there is no task to collect"
    assert state({**reopen, "items": ["other"]}, rows=(ROW,)) is ItemState.SUCCEEDED


def test_a_stop_is_valid_until_items_are_reopened() -> None:
    stop = {"do": "stop", "reason": "Cancelled by hand."}
    assert history(stop).stopped == "Cancelled by hand."
    assert history(stop, {"do": "reopen", "states": ["failed"]}).stopped is None


def test_the_last_review_is_valid() -> None:
    review = {"do": "review", "item": "a", "mark": "approved", "note": "good"}
    assert history(review).reviews == {"a": Review("approved", "good")}
    assert history(review, {"do": "review", "item": "a", "mark": None}).reviews == {}
    assert not history(review, rows=(ROW,)).matches_results([ROW])


def test_a_take_is_an_item_of_its_own() -> None:
    take = {"do": "add", "item": "a-take2", "spec": {"prompt": "wave", "take_of": "a"}}
    items = history(take, {**RUN, "item": "a-take2"}).items
    assert (items["a"].state, items["a-take2"].state) == (ItemState.PENDING, ItemState.UNKNOWN)


CHARGE = {**RUN, "do": "charge", "cost_usd": "0.05"}
SECOND_RUN = {**RUN, "attempt": 2}
FAILED_END = {**SECOND_RUN, "do": "end", "cost_usd": "0", "outcome": {"status": "failed", "error": "no face"}}


def test_the_charges_of_runs_that_did_not_succeed_are_kept() -> None:
    second_charge = {**SECOND_RUN, "do": "charge", "cost_usd": "0.02"}
    restored = history(RUN, TASK, CHARGE, SECOND_RUN, second_charge, FAILED_END).items["a"].restored()
    assert (restored["charged"], restored["paid"], restored["state"]) == ("0.07", "", "failed")


def test_a_charge_that_arrives_after_the_next_attempt_is_kept() -> None:
    assert history(RUN, TASK, SECOND_RUN, CHARGE).items["a"].restored()["charged"] == "0.05"


def test_the_charge_of_a_run_that_is_polled_again_is_not_counted_twice() -> None:
    assert history(RUN, TASK, CHARGE).items["a"].restored()["charged"] == "0"


def test_an_item_that_failed_after_a_charge_is_run_again_and_not_copied() -> None:
    failed = {**FAILED_END, "attempt": 1}
    reopen = {"do": "reopen", "states": ["failed"]}
    assert state(RUN, TASK, CHARGE, failed, reopen) is ItemState.PENDING
    row = {**ROW, "status": "failed", "cost_usd": "0.05", "error": "no face"}
    item = history(RUN, TASK, CHARGE, failed, rows=(row,)).items["a"].restored()
    assert (item["charged"], item["paid"]) == ("0.05", "")


def test_how_a_lost_run_was_found_is_kept() -> None:
    found = {**TASK, "found_by": "task list"}
    assert history(RUN, found).items["a"].restored()["found_by"] == "task list"
    assert history(RUN, found, SECOND_RUN).items["a"].restored()["found_by"] is None
    assert history(rows=({**ROW, "found_by": "callback"},)).items["a"].restored()["found_by"] == "callback"


SPEC: dict[str, Any] = {"image": None, "prompt": "p", "params": {}}


@pytest.mark.parametrize("item_id", ["x y", "a:b", "../a", "", "a\nb", "x" * 129, "a b:specs c"])
def test_entries_and_rows_of_items_that_cannot_exist_are_ignored_and_counted(item_id: str) -> None:
    entries = ({"do": "add", "item": item_id, "spec": SPEC}, {**RUN, "item": item_id}, RUN, TASK)
    restored = history(*entries, rows=({**ROW, "id": item_id},))
    assert list(restored.items) == ["a"]
    assert restored.items["a"].state is ItemState.RUNNING
    assert restored.ignored == 3


@pytest.mark.parametrize(
    "entry",
    [
        {"do": "run", "item": "a"},
        {"do": "run", "attempt": 1},
        {"item": "a", "attempt": 1},
        {**RUN, "attempt": "many"},
        {**RUN, "attempt": 10**30},
        {**RUN, "attempt": -1},
        {**RUN, "item": ["a"]},
        {**TASK, "token": "t" * 5000},
        {**TASK, "task": {"a": 1}},
        {**END, "cost_usd": "NaN"},
        {**END, "cost_usd": "Infinity"},
        {**END, "cost_usd": "-1"},
        {**END, "cost_usd": "1e30"},
        {**END, "outcome": {"status": "won"}},
        {**END, "outcome": {"status": "succeeded", "outputs": [{"uri": "s3://b/k"}]}},
        {**END, "outcome": {}},
        {"do": "add", "item": "b", "spec": {"prompt": 1}},
        {"do": "add", "item": "b", "spec": {**SPEC, "params": []}},
        {"do": "review", "item": "a", "mark": "seen", "note": ""},
        {"do": "reopen", "states": "failed"},
        {"do": "stop"},
    ],
)
def test_an_entry_that_cannot_be_read_is_set_aside_and_the_others_count(entry: dict[str, Any]) -> None:
    read = history(RUN, entry, TASK)
    assert read.damaged == [entry]
    assert (read.items["a"].state, read.items["a"].task) == (ItemState.RUNNING, TASK["task"])


@pytest.mark.parametrize(
    "damage",
    [
        {**RUN, "attempt": "x"},
        {"do": DAMAGED, "line": '{"do":"run","item":"a","atte', "place": "s3://b/1.jsonl:1"},
        {"do": DAMAGED, "line": "?", "place": "s3://b/1.jsonl:1"},
        {"do": "stop"},
    ],
)
def test_a_pending_item_that_a_damaged_entry_may_be_about_is_not_posted_again(damage: dict[str, Any]) -> None:
    item = history(damage).items["a"]
    assert (item.state, item.attempt) == (ItemState.UNKNOWN, 1)


@pytest.mark.parametrize("line", ['{"do":"run","item":"a","attempt":2,"a', "?"])
def test_no_run_follows_a_running_one_if_a_damaged_entry_may_record_it(line: str) -> None:
    item = history(RUN, TASK, {"do": DAMAGED, "line": line, "place": "s3://b/1.jsonl:3"}).items["a"]
    restored = item.restored()
    assert (restored["state"], restored["attempt"], restored["task"]) == (ItemState.RUNNING, 1, TASK["task"])
    assert restored["attempts"] == Limits().attempts


def test_a_damaged_entry_about_another_item_or_not_about_a_run_holds_nothing() -> None:
    other = history({**RUN, "attempt": "x"}, {"do": "reopen", "states": "failed"}).items
    assert [item.state for item_id, item in other.items() if item_id != "a"] == [ItemState.PENDING] * (len(other) - 1)


def test_a_review_of_an_item_that_is_not_there_is_ignored() -> None:
    assert history({"do": "review", "item": "gone", "mark": "approved", "note": ""}).reviews == {}
