"""Faults that a user can meet, tested through the commands."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.processes import Up, a_manifest, an_up, results, until

from pipeline.sandbox.process_handle import Sandbox
from pipeline.storage.s3 import Storage

LONG_WAIT = {"PIPELINE_ADOPT_WAIT_S": "300"}
"""Lost runs are searched for as long as a loaded machine may take."""


def items(sandbox: Sandbox, count: int, prompt: str = "p") -> list[dict[str, Any]]:
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    return [{"id": f"i{n}", "image": image, "prompt": f"{prompt}{n}"} for n in range(count)]


def billed(sandbox: Sandbox) -> Counter[str]:
    return Counter(task["prompt"] for task in sandbox.tasks() if task["cost"] != "0")


def submit(up: Up, manifest: str, batch: str = "b") -> str:
    assert up.run("submit", manifest, "--batch-id", batch).splitlines()[-1] == batch
    return batch


@pytest.fixture
def callback_environment(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return an environment with callbacks."""
    return {**environment, "PIPELINE_PUBLIC_URL": Up(tmp_path / "state", {}).url}


def test_a_lost_ledger_is_rebuilt_from_s3_and_nothing_is_paid_twice(
    up: Up, sandbox: Sandbox, storage: Storage, tmp_path: Path
) -> None:
    sandbox.change(task_s=2.0)
    file = tmp_path / "state" / "batch.yaml"
    file.write_text(json.dumps({"version": 1, "name": "b", "limits": {"max_active": 6}, "items": items(sandbox, 18)}))
    batch = submit(up, str(file))
    output = up.status(batch)["output"]
    until(lambda: up.status(batch)["counts"].get("succeeded", 0) >= 3, "some items")
    until(lambda: sandbox.stats()["active"] >= 4, "runs in flight")
    redis = Redis.from_url(up.environment["REDIS_URL"])
    redis.flushall()
    up.run("status", batch, code=4)
    up.run("submit", str(file), "--batch-id", batch, code=2)
    assert up.run("recover", output).splitlines()[-1] == batch
    assert redis.hlen(f"dailies:batch:{batch}:prices") == 18, "each run in flight is reserved at its price"
    assert batch in up.run("status", batch)
    up.run("watch", batch)
    status = up.status(batch)
    assert status["counts"] == {"succeeded": 18}, status
    assert billed(sandbox) == Counter(f"p{n}" for n in range(18)) | Counter()
    assert all(number == 1 for number in billed(sandbox).values())
    document = results(storage, status)
    assert document["counts"] == {"succeeded": 18}
    up.run("recover", "s3://tests/no/such/batch/", code=4)


def test_a_finished_batch_is_recovered_unchanged(up: Up, sandbox: Sandbox, storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "batch.yaml"
    file.write_text(json.dumps({"version": 1, "name": "b", "limits": {"attempts": 1}, "items": [
        *items(sandbox, 3), {"id": "bad", "prompt": "x #fail", "image": f"http://{sandbox.address}/samples/portrait.jpg"},
    ]}))  # fmt: skip
    batch = submit(up, str(file))
    up.run("watch", batch)
    before = up.status(batch)
    results_before = results(storage, before)
    Redis.from_url(up.environment["REDIS_URL"]).flushall()
    up.run("recover", before["output"])
    up.run("watch", batch)
    after = up.status(batch)
    assert (after["counts"], after["cost_usd"], after["status"]) == (
        before["counts"],
        before["cost_usd"],
        before["status"],
    )
    assert results(storage, after) == results_before
    assert sandbox.stats()["runs"] == 4


def test_a_lost_answer_is_adopted_by_its_callback(
    tmp_path: Path, callback_environment: dict[str, str], sandbox: Sandbox
) -> None:
    sandbox.change(lose_answers=1.0, task_s=1.0, list_refused=True)
    with an_up(tmp_path / "state", callback_environment | LONG_WAIT) as up:
        batch = submit(up, a_manifest(tmp_path, items(sandbox, 5)))
        up.run("watch", batch)
        assert up.status(batch)["counts"] == {"succeeded": 5}
    assert billed(sandbox) == Counter(f"p{n}" for n in range(5))


def test_a_lost_answer_is_found_in_the_list_of_tasks_without_a_public_url(
    environment: dict[str, str], sandbox: Sandbox, storage: Storage, tmp_path: Path
) -> None:
    sandbox.change(lose_answers=1.0)
    with an_up(tmp_path / "state", environment | LONG_WAIT) as up:
        batch = submit(up, a_manifest(tmp_path, items(sandbox, 5)))
        up.run("watch", batch)
        status = up.status(batch)
    assert (status["counts"], status["found"]) == ({"succeeded": 5}, {"task list": 5})
    assert {item["found_by"] for item in results(storage, status)["items"]} == {"task list"}
    assert billed(sandbox) == Counter(f"p{n}" for n in range(5))


@pytest.mark.parametrize("without_url", [False, True], ids=["callback URL", "parameters"])
def test_a_lost_answer_and_a_lost_callback_are_found_in_the_list_of_tasks(
    tmp_path: Path, callback_environment: dict[str, str], sandbox: Sandbox, without_url: bool
) -> None:
    sandbox.change(lose_answers=1.0, lose_callbacks=1.0, list_without_callbackurl=without_url)
    with an_up(tmp_path / "state", callback_environment | LONG_WAIT) as up:
        batch = submit(up, a_manifest(tmp_path, items(sandbox, 5)))
        up.run("watch", batch)
        assert up.status(batch)["counts"] == {"succeeded": 5}
    assert billed(sandbox) == Counter(f"p{n}" for n in range(5))


def test_a_lost_answer_that_nothing_finds_stays_unknown_until_a_person_retries_it(
    up: Up, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.change(lose_answers=1.0, list_refused=True)
    batch = submit(up, a_manifest(tmp_path, items(sandbox, 2)))
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"unknown": 2}
    assert "retry" in up.run("status", batch)
    sandbox.change(lose_answers=0)
    up.run("retry", batch, "--status", "unknown")
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 2}


def test_the_budget_is_never_exceeded(up: Up, sandbox: Sandbox, storage: Storage, tmp_path: Path) -> None:
    batch = submit(up, a_manifest(tmp_path, items(sandbox, 12), limits={"budget_usd": "0.50"}))
    up.run("watch", batch)
    status = up.status(batch)
    assert status["counts"] == {"succeeded": 5, "cancelled": 7}
    assert status["cost_usd"] == "0.45"
    errors = {item["error"] for item in results(storage, status)["items"] if item["status"] == "cancelled"}
    assert any("budget" in str(error) for error in errors)


def test_an_account_without_funds_pauses_and_resumes_by_itself(up: Up, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.change(balance="0.01")
    batch = submit(up, a_manifest(tmp_path, items(sandbox, 3)))
    until(lambda: json.loads(up.run("status", "--json"))["account"]["paused_reason"], "the account to pause")
    until(lambda: up.status(batch)["counts"] == {"pending": 3}, "all items to wait")
    sandbox.change(balance="1000")
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 3}


@pytest.mark.parametrize("refusal", ["suspended", "permission", "spend-limit", "ip"])
def test_an_account_that_may_not_run_pauses_after_a_handful_of_calls_and_spends_no_attempt(
    up: Up, sandbox: Sandbox, storage: Storage, tmp_path: Path, refusal: str
) -> None:
    sandbox.change(account_refusal=refusal)
    batch = submit(up, a_manifest(tmp_path, items(sandbox, 40)))
    until(lambda: json.loads(up.run("status", "--json"))["account"]["paused_reason"], "the account to pause")
    assert sandbox.stats()["requests"]["Run"] <= 8
    until(lambda: up.status(batch)["counts"] == {"pending": 40}, "all items to wait")
    sandbox.change(account_refusal="")
    up.run("watch", batch)
    status = up.status(batch)
    assert status["counts"] == {"succeeded": 40}
    assert {item["attempts"] for item in results(storage, status)["items"]} == {1}


def test_the_vendors_concurrency_limit_is_respected_and_no_item_fails(up: Up, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.change(balance="30")
    batch = submit(up, a_manifest(tmp_path, items(sandbox, 12), limits={"attempts": 1}))
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 12}
    assert sandbox.stats()["max_active_seen"] <= 3


def test_a_cancelled_batch_stops_its_tasks_at_the_vendor(up: Up, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.change(task_s=600)
    batch = submit(up, a_manifest(tmp_path, items(sandbox, 6), limits={"max_active": 2}))
    until(lambda: sandbox.stats()["active"] == 2, "two runs")
    up.run("cancel", batch)
    up.run("watch", batch)
    status = up.status(batch)
    assert (status["status"], status["counts"]) == ("cancelled", {"cancelled": 6})
    assert sandbox.stats()["active"] == 0


def test_a_task_that_never_ends_is_killed_at_the_deadline(up: Up, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.change(stuck=1.0)
    batch = submit(up, a_manifest(tmp_path, items(sandbox, 1), limits={"deadline": "5s"}))
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"failed": 1}
    assert sandbox.stats()["active"] == 0


def test_a_failed_copy_is_repeated_by_retry_without_a_second_run(
    tmp_path: Path, environment: dict[str, str], sandbox: Sandbox
) -> None:
    cdn_not_allowed = {**environment, "PIPELINE_FETCH_HOSTS": "*.wiro.ai"}
    with an_up(tmp_path / "state", cdn_not_allowed) as up:
        batch = submit(up, a_manifest(tmp_path, items(sandbox, 2)))
        up.run("watch", batch)
        status = up.status(batch)
        assert (status["counts"], status["cost_usd"]) == ({"failed": 2}, "0.18")
    with an_up(tmp_path / "state", environment) as up:
        up.run("retry", batch)
        up.run("watch", batch)
        status = up.status(batch)
    assert (status["counts"], status["cost_usd"]) == ({"succeeded": 2}, "0.18")
    assert sandbox.stats()["runs"] == 2
