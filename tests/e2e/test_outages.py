"""Outages while a batch runs: Redis, the web process or workers are killed or frozen."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.processes import QUICK, OwnRedis, Up, a_manifest, an_up, results, s3_environment, until

from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.sandbox.process_handle import Sandbox, running_sandbox
from pipeline.storage.s3 import Storage

SECRET = "a secret for callbacks"
OUTAGE_S = 30.0
PROCESSES = ("pipeline.web", "rq worker", "jobs.cron", "pipeline listen")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with running_sandbox(log=tmp_path / "sandbox.log", task_s=0.5, output_bytes=5000) as sandbox:
        yield sandbox


@pytest.fixture
def environment(tmp_path: Path, redis: OwnRedis, sandbox: Sandbox, s3_server: S3Env) -> dict[str, str]:
    return {
        **QUICK,
        **sandbox.environment,
        **s3_environment(s3_server),
        "REDIS_URL": redis.url,
        "PIPELINE_OUTPUT": f"s3://{s3_server.bucket}/{tmp_path.name}/",
        "PIPELINE_SECRET": SECRET,
        "PIPELINE_PUBLIC_URL": Up(tmp_path / "state", {}).url,
    }


@pytest.fixture
def up(tmp_path: Path, environment: dict[str, str]) -> Iterator[Up]:
    with an_up(tmp_path / "state", environment) as up:
        yield up


def submit(up: Up, sandbox: Sandbox, count: int, **limits: Any) -> str:
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": f"p{n}"} for n in range(count)]
    return up.run("submit", a_manifest(up.state, items, limits={"attempts": 1, **limits})).splitlines()[-1]


def count(up: Up, batch: str, state: str) -> int:
    """Return the number of items in `state`."""
    return Ledger.connect(up.environment["REDIS_URL"]).batches.get(batch).counts.get(state, 0)


def billed(sandbox: Sandbox) -> Counter[str]:
    return Counter(task["prompt"] for task in sandbox.tasks() if task["cost"] != "0")


def stop_workers(up: Up, *, within_s: float) -> None:
    """Send SIGTERM to all workers. `up` starts new ones."""
    old = up.pids("rq worker")
    for pid in old:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not set(old) & set(up.pids("rq worker")), "the workers to exit", within_s)


def callback_status(up: Up) -> int:
    """Return the HTTP status of a callback with a valid token."""
    url = CallbackSigner(SECRET).url(up.url, RunId("none", "i0", 1))
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=20) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_an_outage_of_redis_for_30_s_ends_no_process_and_loses_nothing(
    up: Up, redis: OwnRedis, sandbox: Sandbox, storage: Storage, how: str
) -> None:
    sandbox.change(task_s=3)
    batch = submit(up, sandbox, 24, max_active=8)
    until(lambda: count(up, batch, "succeeded") >= 4, "some items")
    pids = {command: set(up.pids(command)) for command in PROCESSES}
    until(lambda: sandbox.stats()["active"] >= 2, "runs in flight")
    if how == "killed":
        redis.kill()
    else:
        redis.signal(signal.SIGSTOP)
    outage_ends = time.monotonic() + OUTAGE_S
    statuses = []
    while time.monotonic() < outage_ends:
        statuses.append(callback_status(up))
        time.sleep(0.5)
    assert set(statuses) == {503}
    if how == "killed":
        redis.start()
    else:
        redis.signal(signal.SIGCONT)
    until(lambda: callback_status(up) == 200, "the receiver to accept callbacks again")
    up.run("watch", batch)
    status = up.status(batch)
    assert status["counts"] == {"succeeded": 24}
    assert set(billed(sandbox).values()) == {1}
    assert len(results(storage, status)["items"]) == 24
    assert {command: set(up.pids(command)) for command in PROCESSES} == pids


def test_repeated_kills_of_redis_lose_no_paid_run(up: Up, redis: OwnRedis, sandbox: Sandbox) -> None:
    batch = submit(up, sandbox, 60, max_active=10)
    for done in (5, 15, 25, 35):
        until(lambda done=done: count(up, batch, "succeeded") >= done, "some items")  # type: ignore[misc]
        redis.kill()
        redis.start()
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 60}
    assert billed(sandbox) == Counter({f"p{n}": 1 for n in range(60)})


def test_a_stopped_worker_finishes_its_leased_items(up: Up, sandbox: Sandbox) -> None:
    # Slow posts and no callbacks: an item that a worker abandoned would end as unknown.
    sandbox.change(run_s=3, lose_callbacks=1.0)
    batch = submit(up, sandbox, 40)
    until(lambda: count(up, batch, "submitting") >= 10, "a group of items to be posted")
    stop_workers(up, within_s=30)
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 40}
    assert billed(sandbox) == Counter({f"p{n}": 1 for n in range(40)})
    assert sandbox.stats()["runs"] == 40


def test_a_stopped_worker_exits_even_if_the_vendor_hangs(up: Up, sandbox: Sandbox) -> None:
    sandbox.change(hang=1.0, task_s=3)
    batch = submit(up, sandbox, 4)
    until(lambda: sandbox.stats()["runs"] == 4, "the vendor to hang")
    sandbox.change(hang=0)
    # Items have 25 s to finish. Nothing else delays the exit.
    stop_workers(up, within_s=45)
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 4}
    assert billed(sandbox) == Counter({f"p{n}": 1 for n in range(4)})


def test_a_worker_frozen_beyond_its_lease_changes_nothing_afterwards(up: Up, sandbox: Sandbox) -> None:
    sandbox.change(run_s=3)
    batch = submit(up, sandbox, 40)
    until(lambda: count(up, batch, "submitting") >= 10, "a group of items to be posted")
    frozen = up.pids("rq worker")[:1]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(float(QUICK["PIPELINE_LEASE_S"]) + 2)
    for pid in frozen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 40}
    assert billed(sandbox) == Counter({f"p{n}": 1 for n in range(40)})
