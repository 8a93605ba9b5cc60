"""What the commands say of batches, and how they steer them: a real Valkey, no worker."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.ledger_fixtures import FAILED, SUBMITTING, SUCCEEDED, a_batch, claims, dues, running, succeed

from pipeline.cli.main import main
from pipeline.domain.states import BatchState
from pipeline.ledger.ledger import Ledger

MARKUP = "[red]a face[/red] \x1b[2Jsmiles"


@pytest.fixture(autouse=True)
def _redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)


def dailies(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def document(*args: str) -> Any:
    """What a command prints, which is one JSON document and nothing else."""
    answer = dailies(*args)
    assert answer.exit_code == 0, answer.output
    assert answer.stderr == ""
    return json.loads(answer.stdout)


def an_ended_batch(ledger: Ledger, batch_id: str = "b") -> str:
    """One item has succeeded, one has failed, one is held as unknown."""
    a_batch(ledger, batch_id, items=3)
    first, second, third = claims(ledger)
    assert len(ledger.runs.mark_posting([first, second, third])) == 3
    assert ledger.runs.accept(first.run, first.lease, "task-1", "token", 0)
    succeed(ledger, dues(ledger)[0])
    assert ledger.runs.end(second.run, second.lease, SUBMITTING, FAILED, {"error": f"No {MARKUP}"}).ours
    assert ledger.runs.mark_unknown(third.run, third.lease, adopt_wait_s=0)
    assert ledger.runs.expire_leases(adopt_wait_s=0, on_unknown="hold") == [batch_id]
    finish(ledger, batch_id, BatchState.PARTIAL)
    return batch_id


def finish(ledger: Ledger, batch_id: str, status: BatchState) -> None:
    lease = ledger.finalization.claim(batch_id, lease_s=60)
    assert lease
    row = ledger.batches.get(batch_id)
    ledger.finalization.complete(batch_id, lease, status, row.created, row.revision)


def test_status_as_json_is_the_contracts_document(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    running(ledger, 1)
    found = document("status", "b", "--json")
    created = found.pop("created")
    assert created.endswith("Z")
    assert found == {
        "id": "b",
        "name": ledger.batches.get("b").name,
        "status": "running",
        "counts": {"pending": 2, "running": 1},
        "total": 3,
        "cost_usd": "0",
        "finished": None,
        "output": "s3://bucket/b/",
    }


def test_status_without_a_batch_tells_of_the_account_and_the_newest_batches(ledger: Ledger) -> None:
    a_batch(ledger, "old")
    a_batch(ledger, "new")
    ledger.account.limit_concurrency(5)
    ledger.account.pause("Insufficient balance.")
    found = document("status", "--json")
    assert {row["id"] for row in found["batches"]} == {"old", "new"}
    assert found["account"]["window"] == 5
    assert found["account"]["paused"] == "Insufficient balance."
    answer = dailies("status").stdout
    assert "Insufficient balance." in answer
    assert "dailies resume" in answer


def test_status_tells_what_a_person_can_do(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    answer = dailies("status", "b").stdout
    assert "2 of 3 ended" not in answer
    assert "3 of 3 ended" in answer
    assert "s3://bucket/b/results.json" in answer
    assert "dailies items b --status failed" in answer
    assert "Unknown: i2." in answer
    assert "dailies retry b --status unknown" in answer


def test_status_of_a_waiting_batch_tells_why_it_waits(ledger: Ledger) -> None:
    a_batch(ledger)
    ledger.account.back_off(first_s=30, longest_s=60, reason="HTTP 429: slow down")
    assert "HTTP 429: slow down" in dailies("status", "b").stdout


@pytest.mark.parametrize(
    "line",
    ["status nope", "status nope --json", "items nope", "items nope --json", "watch nope", "pause nope", "resume nope"],
)
def test_an_unknown_batch_is_exit_code_4_and_named_on_stderr(line: str) -> None:
    answer = dailies(*line.split())
    assert answer.exit_code == 4
    assert "'nope'" in answer.stderr
    assert answer.stdout == ""


def test_without_redis_the_exit_code_is_3_and_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:planted-secret@127.0.0.1:1/0")
    answer = dailies("status")
    assert answer.exit_code == 3
    assert "127.0.0.1:1" in answer.stderr
    assert "dailies up" in answer.stderr
    assert "planted-secret" not in answer.output


def test_list_names_every_batch(ledger: Ledger) -> None:
    assert "no batches yet" in dailies("list").stdout
    for number in range(3):
        a_batch(ledger, f"b{number}")
    lines = dailies("list").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["batch", *sorted(("b0", "b1", "b2"), reverse=True)]


def test_items_come_in_manifest_order_as_one_json_array(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    found = document("items", "b", "--json")
    assert [(row["id"], row["status"]) for row in found] == [("i0", SUCCEEDED), ("i1", FAILED), ("i2", "unknown")]
    assert found[0]["cost_usd"] == "0.09"
    assert found[1]["error"] == f"No {MARKUP}"


def test_items_are_chosen_by_status(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    assert [row["id"] for row in document("items", "b", "--status", "failed,unknown", "--json")] == ["i1", "i2"]
    assert document("items", "b", "--status", "pending", "--json") == []


def test_a_text_with_markup_and_control_characters_is_shown_as_it_is(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    answer = dailies("items", "b").stdout
    assert "[red]a face[/red] \\x1b[2Jsmiles" in answer
    assert "\x1b" not in answer


def test_many_items_are_one_array_too(ledger: Ledger) -> None:
    a_batch(ledger, items=1201)
    assert len(document("items", "b", "--json")) == 1201


def test_watch_ends_when_the_batch_does(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    answers: list[Result] = []
    watching = threading.Thread(target=lambda: answers.append(dailies("watch", "b")))
    watching.start()
    running(ledger)
    succeed(ledger, dues(ledger)[0])
    finish(ledger, "b", BatchState.SUCCEEDED)
    watching.join(timeout=30)
    assert answers[0].exit_code == 0
    assert "b succeeded 1/1" in answers[0].stdout
    assert "\x1b" not in answers[0].stdout


def test_a_paused_batch_goes_on_when_it_is_resumed(ledger: Ledger) -> None:
    a_batch(ledger)
    assert dailies("pause", "b").exit_code == 0
    assert ledger.batches.get("b").status == BatchState.PAUSED
    assert "dailies resume b" in dailies("status", "b").stdout
    assert dailies("resume", "b").exit_code == 0
    assert ledger.batches.get("b").status == BatchState.RUNNING


def test_the_account_is_paused_and_goes_on(ledger: Ledger) -> None:
    assert dailies("pause").exit_code == 0
    assert ledger.account.get().paused_reason
    assert dailies("resume").exit_code == 0
    assert ledger.account.get().paused_reason is None


def test_a_batch_that_has_ended_is_not_paused(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    answer = dailies("pause", "b")
    assert (answer.exit_code, ledger.batches.get("b").status) == (0, BatchState.PARTIAL)
    assert "nothing to pause" in answer.stdout


def test_cancel_of_an_ended_batch_changes_nothing(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    assert "has ended already" in dailies("cancel", "b").stdout
    assert ledger.batches.get("b").status == BatchState.PARTIAL


@pytest.mark.parametrize("line", ["cancel nope", "retry nope", "results nope", "logs nope i0"])
def test_steering_an_unknown_batch_is_exit_code_4(line: str) -> None:
    answer = dailies(*line.split())
    assert (answer.exit_code, answer.stdout) == (4, "")


def test_logs_of_an_item_without_a_run_say_so(ledger: Ledger) -> None:
    a_batch(ledger)
    answer = dailies("logs", "b", "i0")
    assert answer.exit_code == 1
    assert "no run of 'i0' yet" in answer.stderr
    assert dailies("logs", "b", "nope").exit_code == 4
