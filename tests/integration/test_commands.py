"""Commands that show and control batches, with a real Valkey and without a worker."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.ledger_fixtures import FAILED, SUBMITTING, SUCCEEDED, a_batch, claims, dues, fail, running, succeed

from pipeline.batches.json_documents import Account
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
    """Return the one JSON document that a command prints."""
    result = dailies(*args)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def an_ended_batch(ledger: Ledger, batch_id: str = "b") -> str:
    """Create an ended batch: one item has succeeded, one has failed, one is unknown."""
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


def test_status_as_json_is_the_document_of_the_contract(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    running(ledger, 1)
    printed = document("status", "b", "--json")
    created = printed.pop("created")
    assert created.endswith("Z")
    assert printed == {
        "id": "b",
        "name": ledger.batches.get("b").name,
        "status": "running",
        "counts": {"pending": 2, "running": 1},
        "total": 3,
        "cost_usd": "0",
        "finished": None,
        "output": "s3://bucket/b/",
    }


def test_status_without_a_batch_shows_the_account_and_the_newest_batches(ledger: Ledger) -> None:
    a_batch(ledger, "old")
    a_batch(ledger, "new")
    ledger.account.limit_concurrency(5)
    ledger.account.pause("Insufficient balance.")
    printed = document("status", "--json")
    assert {row["id"] for row in printed["batches"]} == {"old", "new"}
    assert printed["account"] == Account.of(ledger.account.get()).as_json()
    assert printed["account"]["concurrency_limit"] == 5
    assert printed["account"]["paused_reason"] == "Insufficient balance."
    result = dailies("status").stdout
    assert "Insufficient balance." in result
    assert "dailies resume" in result


def test_status_shows_the_commands_for_the_state_of_the_batch(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    result = dailies("status", "b").stdout
    assert "2 of 3 ended" not in result
    assert "3 of 3 ended" in result
    assert "s3://bucket/b/results.json" in result
    assert "dailies items b --status failed" in result
    assert "Unknown: i2." in result
    assert "dailies retry b --status unknown" in result
    assert "finished, 1 failed, 1 result unknown, may be billed" in result
    assert "1 × No [red]a face[/red]" in result


def test_status_groups_failures_by_their_cause(ledger: Ledger) -> None:
    a_batch(ledger, items=3)
    running(ledger)
    fail(ledger, "http://a/1: gone", "face not found", "http://a/2: gone")
    lines = [line.strip() for line in dailies("status", "b").stdout.splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith("failures"))
    assert lines[first].endswith("2 × …: gone")
    assert lines[first + 1] == "1 × face not found"
    expected = [{"cause": "…: gone", "count": 2}, {"cause": "face not found", "count": 1}]
    assert document("status", "b", "--json")["failures"] == expected


def test_status_shows_how_many_runs_may_be_active(ledger: Ledger) -> None:
    ledger.account.limit_concurrency(5)
    assert "0 runs active, 5 parallel runs allowed" in dailies("status").stdout


def test_status_of_a_batch_in_backoff_shows_the_reason(ledger: Ledger) -> None:
    a_batch(ledger)
    ledger.account.back_off(first_s=30, longest_s=60, reason="HTTP 429: slow down")
    assert "HTTP 429: slow down" in dailies("status", "b").stdout


@pytest.mark.parametrize(
    "line",
    ["status nope", "status nope --json", "items nope", "items nope --json", "watch nope", "pause nope", "resume nope"],
)
def test_a_missing_batch_is_exit_code_4_and_named_on_stderr(line: str) -> None:
    result = dailies(*line.split())
    assert result.exit_code == 4
    assert "'nope'" in result.stderr
    assert result.stdout == ""


def test_without_redis_the_exit_code_is_3_and_the_message_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:planted-secret@127.0.0.1:1/0")
    result = dailies("status")
    assert result.exit_code == 3
    assert "127.0.0.1:1" in result.stderr
    assert "dailies up" in result.stderr
    assert "planted-secret" not in result.output


def test_list_shows_every_batch(ledger: Ledger) -> None:
    assert "no batches yet" in dailies("list").stdout
    for number in range(3):
        a_batch(ledger, f"b{number}")
    lines = dailies("list").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["batch", *sorted(("b0", "b1", "b2"), reverse=True)]


def test_items_are_one_json_array_in_manifest_order(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    printed = document("items", "b", "--json")
    assert [(row["id"], row["status"]) for row in printed] == [("i0", SUCCEEDED), ("i1", FAILED), ("i2", "unknown")]
    assert printed[0]["cost_usd"] == "0.09"
    assert printed[1]["error"] == f"No {MARKUP}"


def test_items_are_selected_by_status(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    assert [row["id"] for row in document("items", "b", "--status", "failed,unknown", "--json")] == ["i1", "i2"]
    assert document("items", "b", "--status", "pending", "--json") == []


def test_markup_and_control_characters_are_not_interpreted(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    result = dailies("items", "b").stdout
    assert "[red]a face[/red] \\x1b[2Jsmiles" in result
    assert "\x1b" not in result


def test_many_items_are_one_json_array(ledger: Ledger) -> None:
    a_batch(ledger, items=1201)
    assert len(document("items", "b", "--json")) == 1201


def test_watch_ends_with_the_batch(ledger: Ledger) -> None:
    a_batch(ledger, items=1)
    results: list[Result] = []
    watching = threading.Thread(target=lambda: results.append(dailies("watch", "b")))
    watching.start()
    running(ledger)
    succeed(ledger, dues(ledger)[0])
    finish(ledger, "b", BatchState.SUCCEEDED)
    watching.join(timeout=120)
    assert results[0].exit_code == 0
    assert "b succeeded 1/1" in results[0].stdout
    assert "\x1b" not in results[0].stdout


def test_a_paused_batch_runs_when_it_is_resumed(ledger: Ledger) -> None:
    a_batch(ledger)
    assert dailies("pause", "b").exit_code == 0
    assert ledger.batches.get("b").status == BatchState.PAUSED
    assert "dailies resume b" in dailies("status", "b").stdout
    assert dailies("resume", "b").exit_code == 0
    assert ledger.batches.get("b").status == BatchState.RUNNING


def test_the_account_is_paused_and_resumed_by_command(ledger: Ledger) -> None:
    assert dailies("pause").exit_code == 0
    assert ledger.account.get().paused_reason
    assert dailies("resume").exit_code == 0
    assert ledger.account.get().paused_reason is None


def test_a_batch_that_has_ended_is_not_paused(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    result = dailies("pause", "b")
    assert (result.exit_code, ledger.batches.get("b").status) == (0, BatchState.PARTIAL)
    assert "nothing to pause" in result.stdout


def test_cancel_of_an_ended_batch_changes_nothing(ledger: Ledger) -> None:
    an_ended_batch(ledger)
    assert "has ended already" in dailies("cancel", "b").stdout
    assert ledger.batches.get("b").status == BatchState.PARTIAL


@pytest.mark.parametrize("line", ["cancel nope", "retry nope", "results nope", "logs nope i0"])
def test_controlling_a_missing_batch_is_exit_code_4(line: str) -> None:
    result = dailies(*line.split())
    assert (result.exit_code, result.stdout) == (4, "")


def test_logs_of_an_item_without_a_run_are_an_error(ledger: Ledger) -> None:
    a_batch(ledger)
    result = dailies("logs", "b", "i0")
    assert result.exit_code == 1
    assert "no run of 'i0' yet" in result.stderr
    assert dailies("logs", "b", "nope").exit_code == 4


def test_a_batch_is_named_by_last_or_by_the_beginning_of_its_id(ledger: Ledger) -> None:
    for batch_id in ("la-street-1", "la-street-2", "nightly"):
        a_batch(ledger, batch_id)
    assert document("status", "night", "--json")["id"] == "nightly"
    assert document("status", "last", "--json")["id"] == document("list", "--json")[0]["id"]
    result = dailies("status", "la-s")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "la-street-1, la-street-2" in result.stderr
    assert "Did you mean 'nightly'?" in dailies("status", "nihgtly").stderr


def test_the_list_as_json_has_the_documents_of_status(ledger: Ledger) -> None:
    assert document("list", "--json") == []
    a_batch(ledger, "b")
    assert document("list", "--json") == [document("status", "b", "--json")]


def test_recover_of_what_is_no_address_shows_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_OUTPUT", "s3://dailies/batches/")
    for name in ("f1", "s3:/dailies/f1", "https://example.com/f1"):
        result = dailies("recover", name)
        assert result.exit_code == 2
        assert "s3://dailies/batches/f1/." in result.stderr
