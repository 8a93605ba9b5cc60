"""One batch in which each item has another fault of vendor, CDN or callbacks: all end correctly, billed once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from support.processes import QUICK, Up, a_manifest, an_up, results, s3_environment, until

from pipeline.local.servers import HOST, S3Env, free_ports, running_valkey
from pipeline.sandbox.process_handle import Sandbox, running_sandbox
from pipeline.sandbox.prompt_faults import CALLBACK_BODIES, RUN_LOST, RUN_REFUSALS
from pipeline.storage.s3 import Storage

PRICE = "0.09"
ANY_FAULTS = {"prompt_faults": True, "task_s": 0.3, "output_bytes": 6016, "strict_nonce": True, "list_refused": True}
PASSING = (
    *RUN_REFUSALS,
    *RUN_LOST,
    *(f"detail {fault}" for fault in ("hangs", "not JSON", "error as text", "429", "500", "gone at first")),
    "detail unknown status",
    *(f"cdn {fault}" for fault in ("404", "503", "page", "expired", "longer", "truncated", "hangs", "trickle")),
    *CALLBACK_BODIES,
    "callback early",
    "callback early, run cut",
    "callback five times",
    "no callback",
    "task fails once, callback of older attempts",
)
"""Faults with which an item succeeds without help, billed once."""
PAID = ("cdn gone", "cdn another host")
"""Faults with which a run is paid but its output cannot be copied: the item fails, and a retry only copies."""
LASTING = {
    "run invalid": ("failed", "Request parameter [timeout] must be between 1 and 9"),
    "detail gone": ("failed", "no longer has the task"),
    "#fail": ("failed", "ValueError: the subject's face could not be found"),
    "run cut, no callback": ("unknown", "no callback came"),
}
"""Faults with which an item ends in another state: the state, and a part of the error."""


@pytest.fixture
def vendor(tmp_path: Path) -> Sandbox:
    """The address of a sandbox that does not run yet."""
    (port,) = free_ports(tmp_path, 1)
    return Sandbox(f"http://{HOST}:{port}/v1", "key", "secret")


@pytest.fixture
def sandbox(vendor: Sandbox, tmp_path: Path) -> Iterator[Sandbox]:
    with started(vendor, tmp_path):
        yield vendor


@pytest.fixture
def up(tmp_path: Path, vendor: Sandbox, s3_server: S3Env) -> Iterator[Up]:
    (tmp_path / "redis").mkdir()
    with running_valkey(tmp_path / "redis") as redis_url:
        environment = {
            **QUICK,
            **vendor.environment,
            **s3_environment(s3_server),
            "REDIS_URL": redis_url,
            "PIPELINE_OUTPUT": f"s3://{s3_server.bucket}/{tmp_path.name}/",
            "PIPELINE_SECRET": "a secret for callbacks",
            "PIPELINE_PUBLIC_URL": Up(tmp_path / "state", {}).url,
        }
        with an_up(tmp_path / "state", environment) as up:
            yield up


def started(vendor: Sandbox, folder: Path) -> AbstractContextManager[Sandbox]:
    port = int(vendor.address.rpartition(":")[2])
    return running_sandbox(port=port, key=vendor.key, secret=vendor.secret, log=folder / "sandbox.log", **ANY_FAULTS)


def submit(up: Up, sandbox: Sandbox, folder: Path, prompts: list[str], **limits: object) -> str:
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": prompt} for n, prompt in enumerate(prompts)]
    return up.run("submit", a_manifest(folder, items, limits=limits)).splitlines()[-1]


def tasks_by_id(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    return {task["id"]: task for task in sandbox.tasks()}


def tasks_by_prompt(sandbox: Sandbox) -> Counter[str]:
    return Counter(task["prompt"] for task in sandbox.tasks())


def billed(sandbox: Sandbox) -> Counter[str]:
    return Counter(task["prompt"] for task in sandbox.tasks() if task["cost"] == PRICE)


def output(sandbox: Sandbox, task_id: str) -> bytes:
    (url,) = next(task["urls"] for task in sandbox.tasks() if task["id"] == task_id)
    response = urllib3.request("GET", url)
    assert (response.status, len(response.data)) == (200, ANY_FAULTS["output_bytes"])
    return response.data


def call_back(task: dict[str, Any], body: object) -> None:
    response = urllib3.request("POST", task["callback_url"], body=json.dumps(body).encode(), retries=False)
    assert response.status == 200


def check_that_a_retry_runs_only_what_was_not_bought(
    up: Up, sandbox: Sandbox, storage: Storage, batch: str, prompts: list[str]
) -> None:
    lost = "run cut, no callback"
    taken, runs = tasks_by_prompt(sandbox), sandbox.stats()["requests"]["Run"]
    sandbox.change(prompt_faults=False)
    up.run("retry", batch, "--status", "failed,unknown")
    up.run("watch", batch)
    status = up.status(batch)
    assert status["counts"] == {"succeeded": len(prompts) - 1, "failed": 1}
    assert {*(tasks_by_prompt(sandbox) - taken)} == {*LASTING}
    # `#fail` has two attempts.
    assert sandbox.stats()["requests"]["Run"] - runs == len(LASTING) + 1
    assert results(storage, status)["revision"] == 2
    assert billed(sandbox) == Counter([*PASSING, *PAID, lost, lost, "detail gone", "detail gone", "run invalid"])


def test_with_faults_of_vendor_cdn_and_callbacks_every_item_ends_correctly_and_is_billed_once(
    up: Up, sandbox: Sandbox, storage: Storage, tmp_path: Path
) -> None:
    prompts = [*PASSING, *PAID, *LASTING]
    batch = submit(up, sandbox, tmp_path, prompts, attempts=2)
    until(lambda: up.status(batch)["finished"], "the batch to end")
    status = up.status(batch)
    rows = {item["prompt"]: item for item in results(storage, status)["items"]}

    assert {prompt: rows[prompt]["status"] for prompt in PASSING} == dict.fromkeys(PASSING, "succeeded")
    tasks = tasks_by_id(sandbox)
    for prompt in PASSING:
        (copied,) = rows[prompt]["outputs"]
        task = tasks[rows[prompt]["task_id"]]
        assert (task["prompt"], storage.get(copied["uri"])) == (prompt, output(sandbox, task["id"]))
    for prompt in PAID:
        row = rows[prompt]
        assert (row["status"], row["cost_usd"]) == ("failed", PRICE)
        assert "is paid" in row["error"]
    assert "169.254.169.254" in rows["cdn another host"]["error"]
    for prompt, (state, words) in LASTING.items():
        assert rows[prompt]["status"] == state
        assert words in rows[prompt]["error"]
    spent = {prompt: row["attempts"] for prompt, row in rows.items() if row["attempts"] != 1}
    # A refusal spends no attempt; a fault of the vendor does.
    assert spent == {"run 500": 2, "run 503": 2, "task fails once, callback of older attempts": 2, "#fail": 2}
    lost = "run cut, no callback"
    assert billed(sandbox) == Counter([*PASSING, *PAID, lost, "detail gone"])
    assert {status for task in tasks.values() for status in task["calls"]} == {200}

    # Repeated callbacks after the end change nothing.
    for task in tasks.values():
        call_back(task, {})
    until(lambda: not json.loads(up.run("status", "--json"))["account"]["active"], "all runs to end")
    after = up.status(batch)
    assert after["counts"] == {"succeeded": len(PASSING), "failed": 5, "unknown": 1}, after

    check_that_a_retry_runs_only_what_was_not_bought(up, sandbox, storage, batch, prompts)


def test_a_run_that_succeeds_after_the_cancellation_is_collected(
    up: Up, sandbox: Sandbox, storage: Storage, tmp_path: Path
) -> None:
    endless, lost = "task never ends", "run cut, no callback"
    prompts = [endless, f"{endless}, task not killable", lost, f"{endless}, waits", f"{endless}, waits too"]
    batch = submit(up, sandbox, tmp_path, prompts, max_active=3)
    until(lambda: len(sandbox.tasks()) >= 3, "three runs")
    up.run("cancel", batch)
    until(lambda: up.status(batch)["finished"], "the batch to end")
    status = up.status(batch)
    states = [item["status"] for item in results(storage, status)["items"]]
    assert (status["status"], states) == ("cancelled", ["cancelled", "succeeded", "unknown", "cancelled", "cancelled"])
    assert status["cost_usd"] == PRICE

    # The callback of the lost run arrives late.
    (late,) = (task for task in sandbox.tasks() if task["prompt"] == lost)
    call_back(late, {"id": late["id"], "socketaccesstoken": late["token"], "status": late["status"]})
    until(lambda: up.status(batch)["counts"] == {"cancelled": 3, "succeeded": 2}, "the late result")
    until(lambda: (results(storage, up.status(batch))["revision"]) == 2, "revision 2 of the results")
    row = results(storage, up.status(batch))["items"][2]
    assert (row["status"], row["cost_usd"], row["task_id"]) == ("succeeded", PRICE, late["id"])
    assert storage.get(row["outputs"][0]["uri"]) == output(sandbox, late["id"])
    assert up.status(batch)["status"] == "cancelled"
    assert billed(sandbox) == Counter([prompts[1], lost])


def test_refused_connections_are_retried_and_spend_no_attempt(
    up: Up, vendor: Sandbox, storage: Storage, tmp_path: Path
) -> None:
    batch = submit(up, vendor, tmp_path, [f"p{n}" for n in range(4)], attempts=1)
    until(lambda: "does not answer" in up.run("status"), "the backoff to be shown")
    assert up.status(batch)["counts"].keys() <= {"pending", "submitting"}
    with started(vendor, tmp_path):
        up.run("watch", batch)
        rows = results(storage, up.status(batch))["items"]
        assert [(row["status"], row["attempts"]) for row in rows] == [("succeeded", 1)] * 4
        assert set(tasks_by_prompt(vendor).values()) == {1}
        assert vendor.stats()["requests"]["Run"] == 4
