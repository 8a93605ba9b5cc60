"""One batch in which each item has another fault of vendor, CDN or callbacks: all end correctly, billed once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fault_vendor import BODIES, LOST, NOT_TAKEN, PRICE, Vendor, a_vendor
from support.processes import QUICK, Up, a_manifest, an_up, results, s3_environment, until

from pipeline.local.servers import S3Env, running_valkey
from pipeline.storage.s3 import Storage

PASSING = (
    *NOT_TAKEN,
    *LOST,
    *(f"detail {fault}" for fault in ("hangs", "not JSON", "in words", "429", "500", "gone for a moment")),
    *(f"cdn {fault}" for fault in ("404", "503", "expired", "longer", "truncated", "hangs", "trickle")),
    *BODIES,
    "early",
    "early, run cut",
    "five times",
    "no callback",
    "fails once, older attempt",
)
"""Faults with which an item succeeds without help, billed once."""
PAID = ("cdn gone", "another host")
"""Faults with which a run is paid but its output cannot be copied: the item fails, and a retry only copies."""
LASTING = {
    "wrong": ("failed", "prompt must be nicer"),
    "detail gone": ("failed", "no longer has the task"),
    "always fails": ("failed", "ValueError: no face"),
    "run cut, no callback": ("unknown", "no callback came"),
}
"""Faults with which an item ends in another state: the state, and a part of the error."""


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with a_vendor() as vendor:
        yield vendor


@pytest.fixture
def up(tmp_path: Path, vendor: Vendor, s3_server: S3Env) -> Iterator[Up]:
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


def check_rows(rows: dict[str, Any], vendor: Vendor, storage: Storage) -> None:
    """Check state, output and error of every item. `rows`: {prompt: row of the results}."""
    assert {prompt: rows[prompt]["status"] for prompt in PASSING} == dict.fromkeys(PASSING, "succeeded")
    for prompt in PASSING:
        (output,) = rows[prompt]["outputs"]
        task = vendor.tasks[rows[prompt]["task_id"]]
        assert (task.prompt, storage.get(output["uri"])) == (prompt, task.output)
    for prompt in PAID:
        row = rows[prompt]
        assert (row["status"], row["cost_usd"]) == ("failed", PRICE)
        assert "is paid" in row["error"]
    assert "169.254.169.254" in rows["another host"]["error"]
    for prompt, (state, message) in LASTING.items():
        assert rows[prompt]["status"] == state
        assert message in rows[prompt]["error"]
    spent = {prompt: row["attempts"] for prompt, row in rows.items() if row["attempts"] != 1}
    # A refused run spends no attempt; a fault of the vendor does.
    assert spent == {"500": 2, "503": 2, "fails once, older attempt": 2, "always fails": 2}


def test_with_faults_of_vendor_cdn_and_callbacks_every_item_ends_correctly_and_is_billed_once(
    up: Up, vendor: Vendor, storage: Storage, tmp_path: Path
) -> None:
    vendor.open()
    prompts = [*PASSING, *PAID, *LASTING]
    image = f"http://{vendor.place}/picture.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": prompt} for n, prompt in enumerate(prompts)]
    batch = up.run("submit", a_manifest(tmp_path, items, limits={"attempts": 2})).splitlines()[-1]
    until(lambda: up.status(batch)["finished"], "the batch to end", 240)
    status = up.status(batch)
    rows = {item["prompt"]: item for item in results(storage, status)["items"]}
    check_rows(rows, vendor, storage)
    lost = "run cut, no callback"
    assert vendor.billed == Counter([*PASSING, *PAID, lost, "detail gone"])
    assert {answer for task in vendor.tasks.values() for answer in task.answers} == {200}

    # All callbacks once more, after the end: nothing changes.
    for task in list(vendor.tasks.values()):
        vendor.ring(task, b"{}")
    until(lambda: not json.loads(up.run("status", "--json"))["account"]["active"], "all runs to end")
    after = up.status(batch)
    assert after["counts"] == {"succeeded": len(PASSING), "failed": 5, "unknown": 1}, after

    # A person retries what failed: only items that are not paid are run again.
    posts = Counter(vendor.posts)
    vendor.faulty = False
    up.run("retry", batch, "--status", "failed,unknown")
    up.run("watch", batch)
    status = up.status(batch)
    assert status["counts"] == {"succeeded": len(prompts) - 1, "failed": 1}
    assert {prompt for prompt in prompts if vendor.posts[prompt] > posts[prompt]} == {*LASTING}
    assert results(storage, status)["revision"] == 2
    assert vendor.billed == Counter([*PASSING, *PAID, lost, lost, "detail gone", "detail gone", "wrong"])


def test_a_run_that_succeeds_after_the_cancellation_is_collected(
    up: Up, vendor: Vendor, storage: Storage, tmp_path: Path
) -> None:
    vendor.open()
    prompts = ["slow", "slow, cannot be killed", "run cut, no callback", "slow, waits", "slow, waits too"]
    image = f"http://{vendor.place}/picture.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": prompt} for n, prompt in enumerate(prompts)]
    batch = up.run("submit", a_manifest(tmp_path, items, limits={"max_active": 3})).splitlines()[-1]
    until(lambda: len(vendor.tasks) >= 3, "three runs")
    up.run("cancel", batch)
    until(lambda: up.status(batch)["finished"], "the batch to end")
    status = up.status(batch)
    states = [item["status"] for item in results(storage, status)["items"]]
    assert (status["status"], states) == ("cancelled", ["cancelled", "succeeded", "unknown", "cancelled", "cancelled"])
    assert status["cost_usd"] == PRICE

    # The callback of the unknown run arrives late.
    (late,) = (task for task in vendor.tasks.values() if task.prompt == "run cut, no callback")
    vendor.ring(late, json.dumps(vendor.document(late)).encode())
    until(lambda: up.status(batch)["counts"] == {"cancelled": 3, "succeeded": 2}, "the late result")
    until(lambda: (results(storage, up.status(batch))["revision"]) == 2, "the second revision of the results")
    row = results(storage, up.status(batch))["items"][2]
    assert (row["status"], row["cost_usd"], row["task_id"]) == ("succeeded", PRICE, late.id)
    assert storage.get(row["outputs"][0]["uri"]) == late.output
    assert up.status(batch)["status"] == "cancelled"
    assert vendor.billed == Counter(["slow, cannot be killed", "run cut, no callback"])


def test_refused_connections_are_retried_and_spend_no_attempt(
    up: Up, vendor: Vendor, storage: Storage, tmp_path: Path
) -> None:
    image = f"http://{vendor.place}/picture.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": f"p{n}"} for n in range(4)]
    batch = up.run("submit", a_manifest(tmp_path, items, limits={"attempts": 1})).splitlines()[-1]
    until(lambda: "does not answer" in up.run("status"), "the backoff to be shown")
    assert up.status(batch)["counts"].keys() <= {"pending", "submitting"}
    vendor.open()
    up.run("watch", batch)
    rows = results(storage, up.status(batch))["items"]
    assert [(row["status"], row["attempts"]) for row in rows] == [("succeeded", 1)] * 4
    assert set(vendor.posts.values()) == {1}
