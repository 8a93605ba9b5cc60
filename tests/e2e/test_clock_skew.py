"""Three workers whose clocks differ by minutes, two schedulers, and a callback URL that does not work."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.processes import (
    QUICK,
    ROOT,
    OwnRedis,
    Up,
    a_manifest,
    an_up,
    results,
    s3_environment,
    until,
)

from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.local.supervisor import commands_of
from pipeline.sandbox.process_handle import Sandbox, running_sandbox
from pipeline.storage.s3 import Storage

SKEWS_S = (300, -300)


@pytest.fixture(scope="module")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(
        log=tmp_path_factory.mktemp("sandbox") / "sandbox.log", task_s=0.3, output_bytes=5000
    ) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    shared_sandbox.reset()
    return shared_sandbox


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, shared_sandbox: Sandbox, s3_server: S3Env) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("apart")
    with ExitStack() as stack:
        redis = OwnRedis(folder / "redis")
        stack.callback(redis.close)
        environment = {
            **QUICK,
            **shared_sandbox.environment,
            **s3_environment(s3_server),
            "REDIS_URL": redis.url,
            "PIPELINE_OUTPUT": f"s3://{s3_server.bucket}/{folder.name}/",
            "PIPELINE_SECRET": "a secret for callbacks",
            "PIPELINE_PUBLIC_URL": "http://127.0.0.1:1",
            "PIPELINE_ON_UNKNOWN": "resubmit",
        }
        up = stack.enter_context(an_up(folder / "state", environment, workers=1))
        for skew_s in SKEWS_S:
            stack.enter_context(skewed_process(up, "worker", skew_s))
        stack.enter_context(skewed_process(up, "cron", SKEWS_S[0]))
        yield up


@contextmanager
def skewed_process(up: Up, name: str, skew_s: int) -> Iterator[None]:
    """Run another process of the Procfile whose clock is wrong by `skew_s` seconds."""
    command = shlex.split(commands_of(ROOT / "Procfile", {})[name])
    programs = Path(sys.executable).parent
    environment = {
        **up.environment,
        "PYTHONPATH": f"{ROOT / 'tests' / 'support' / 'clock_skew'}{os.pathsep}{ROOT}",
        "SKEW_S": str(skew_s),
    }
    with (up.state / f"{name}{skew_s}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(programs / command[0]), *command[1:]], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def submit(up: Up, sandbox: Sandbox, batch: str, count: int, **limits: Any) -> Ledger:
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": f"{batch}{n}"} for n in range(count)]
    up.run("submit", a_manifest(up.state, items, limits={"attempts": 1, **limits}), "--batch-id", batch)
    return Ledger.connect(up.environment["REDIS_URL"])


def billed(sandbox: Sandbox, batch: str) -> Counter[str]:
    return Counter(
        task["prompt"] for task in sandbox.tasks() if task["cost"] != "0" and task["prompt"].startswith(batch)
    )


def test_workers_with_different_clocks_and_two_schedulers_run_every_item_once(up: Up, sandbox: Sandbox) -> None:
    sandbox.change(fail=0.1, rate_limit=0.03)
    submit(up, sandbox, "apart", 40, attempts=8, max_active=12)
    up.run("watch", "apart")
    assert up.status("apart")["counts"] == {"succeeded": 40}
    assert billed(sandbox, "apart") == Counter({f"apart{n}": 1 for n in range(40)})
    for skew_s in SKEWS_S:
        log = up.state / f"worker{skew_s}.log"
        until(lambda log=log: b"Job OK" in log.read_bytes(), f"{log} to show a finished job")  # type: ignore[misc]
    assert b'"job_enqueued"' in (up.state / f"cron{SKEWS_S[0]}.log").read_bytes()


def test_without_callbacks_polls_finish_the_batch_and_while_the_list_is_refused_a_person_resubmits_lost_runs(
    up: Up, sandbox: Sandbox
) -> None:
    sandbox.change(lose_answers=1.0, list_refused=True)
    submit(up, sandbox, "lost", 3)
    up.run("watch", "lost")
    assert up.status("lost")["counts"] == {"unknown": 3}
    assert sandbox.stats()["runs"] == 3
    sandbox.change(lose_answers=0)
    up.run("retry", "lost", "--status", "unknown")
    up.run("watch", "lost")
    assert up.status("lost")["counts"] == {"succeeded": 3}
    assert sandbox.stats()["runs"] == 6
    until(lambda: all(task["calls"] == [0, 0, 0] for task in sandbox.tasks()), "the sandbox to stop retrying callbacks")


def test_a_batch_with_too_many_failures_is_stopped(up: Up, sandbox: Sandbox, storage: Storage) -> None:
    sandbox.change(fail=1.0)
    submit(up, sandbox, "wrong", 60, max_active=4, tolerated_failures="10%")
    up.run("watch", "wrong", code=0)
    status = up.status("wrong")
    assert status["status"] == "failed"
    counts = status["counts"]
    # Items that ran when the seventh failed may have failed as well.
    assert 7 <= counts["failed"] <= 7 + 4
    assert counts["failed"] + counts["cancelled"] == 60
    cancelled = [item for item in results(storage, status)["items"] if item["status"] == "cancelled"]
    assert any("tolerated_failures" in item["error"] for item in cancelled)


def test_a_paused_batch_submits_nothing_until_it_is_resumed(up: Up, sandbox: Sandbox) -> None:
    # Two at a time: the twelve take much longer than the command that pauses them, on a loaded machine too.
    sandbox.change(task_s=3)
    ledger = submit(up, sandbox, "halt", 12, max_active=2)
    until(lambda: ledger.batches.get("halt").counts.get("succeeded", 0) >= 2, "some items")
    up.run("pause", "halt")
    until(lambda: up.status("halt")["counts"].keys() == {"pending", "succeeded"}, "active runs to end")
    sandbox.change(task_s=0.3)
    posted = sum(task["prompt"].startswith("halt") for task in sandbox.tasks())
    submit(up, sandbox, "other", 3)
    up.run("watch", "other")
    assert sum(task["prompt"].startswith("halt") for task in sandbox.tasks()) == posted < 12
    status = up.status("halt")
    assert (status["status"], status["counts"]["pending"]) == ("paused", 12 - posted)
    up.run("resume", "halt")
    up.run("watch", "halt")
    assert billed(sandbox, "halt") == Counter({f"halt{n}": 1 for n in range(12)})


def test_an_account_without_balance_is_shown_in_status_and_metrics_and_no_item_fails(up: Up, sandbox: Sandbox) -> None:
    assert "dailies_account_paused 0.0" in metrics(up)
    sandbox.change(balance="0.01")
    submit(up, sandbox, "poor", 4)
    until(lambda: "dailies_account_paused 1.0" in metrics(up), "the account to pause")
    assert "nsufficient" in json.loads(up.run("status", "--json"))["account"]["paused_reason"]
    assert "paused" in up.run("status", "poor")
    # Runs that were on their way when the account paused are refused as well, and wait again.
    until(lambda: up.status("poor")["counts"] == {"pending": 4}, "all items to wait")
    sandbox.change(balance="1000")
    up.run("resume")
    up.run("watch", "poor")
    assert up.status("poor")["counts"] == {"succeeded": 4}
    assert "dailies_account_paused 0.0" in metrics(up)


def metrics(up: Up) -> str:
    request = urllib.request.Request(f"{up.url}/metrics", headers=up.bearer())
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(response.read().decode())
