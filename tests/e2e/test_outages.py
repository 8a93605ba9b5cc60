"""Redis, the web process and workers that are away, stand still or die, while a batch is under way."""

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
from support.processes import QUICK, OwnRedis, Sandbox, Up, a_manifest, a_sandbox, an_up, results, s3_environment, until

from pipeline.domain.callback_tokens import CallbackSigner, RunId
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.storage.s3 import Storage

SECRET = "a secret for callbacks"
AWAY_S = 30.0
REMEMBERED = ("gunicorn", "rq worker", "jobs.cron", "pipeline listen")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with a_sandbox(tmp_path, task_s=0.5, output_bytes=5000) as sandbox:
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
    image = f"http://{sandbox.place}/samples/portrait.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": f"p{n}"} for n in range(count)]
    return up.run("submit", a_manifest(up.state, items, limits={"attempts": 1, **limits})).splitlines()[-1]


def count(up: Up, batch: str, state: str) -> int:
    """Items of the batch that are in `state` now."""
    return Ledger.connect(up.environment["REDIS_URL"]).batches.get(batch).counts.get(state, 0)


def billed(sandbox: Sandbox) -> Counter[str]:
    return Counter(task["prompt"] for task in sandbox.tasks() if task["cost"] != "0")


def end_the_workers(up: Up, *, within_s: float) -> None:
    """SIGTERM to all of them; `up` starts others in their place."""
    old = up.pids("rq worker")
    for pid in old:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not set(old) & set(up.pids("rq worker")), "the workers to end", within_s)


def callback_answer(up: Up) -> int:
    """What the receiver says to a callback with a good token."""
    url = CallbackSigner(SECRET).url(up.url, RunId("none", "i0", 1))
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_redis_away_for_half_a_minute_kills_nothing_and_loses_nothing(
    up: Up, redis: OwnRedis, sandbox: Sandbox, storage: Storage, how: str
) -> None:
    sandbox.change(task_s=3)
    batch = submit(up, sandbox, 24, max_active=8)
    until(lambda: count(up, batch, "succeeded") >= 4, "some items")
    alive = {words: set(up.pids(words)) for words in REMEMBERED}
    until(lambda: sandbox.stats()["active"] >= 2, "runs in flight")
    if how == "killed":
        redis.kill()
    else:
        redis.signal(signal.SIGSTOP)
    ends = time.monotonic() + AWAY_S
    answers = []
    while time.monotonic() < ends:
        answers.append(callback_answer(up))
        time.sleep(0.5)
    assert set(answers) == {503}
    if how == "killed":
        redis.start()
    else:
        redis.signal(signal.SIGCONT)
    until(lambda: callback_answer(up) == 200, "the receiver to hear again")
    up.run("watch", batch)
    status = up.status(batch)
    assert status["counts"] == {"succeeded": 24}
    assert set(billed(sandbox).values()) == {1}
    assert len(results(storage, status)["items"]) == 24
    assert {words: set(up.pids(words)) for words in REMEMBERED} == alive


def test_redis_that_is_killed_again_and_again_forgets_nothing_that_was_bought(
    up: Up, redis: OwnRedis, sandbox: Sandbox
) -> None:
    batch = submit(up, sandbox, 60, max_active=10)
    for done in (5, 15, 25, 35):
        until(lambda done=done: count(up, batch, "succeeded") >= done, "some items")  # type: ignore[misc]
        redis.kill()
        redis.start()
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 60}
    assert billed(sandbox) == Counter({f"p{n}": 1 for n in range(60)})


def test_a_worker_that_is_told_to_end_finishes_its_handful(up: Up, sandbox: Sandbox) -> None:
    # Posting takes its time and is answered, and callbacks do not come: what it left behind would be unknown.
    sandbox.change(run_s=3, lose_callbacks=1.0)
    batch = submit(up, sandbox, 40)
    until(lambda: count(up, batch, "submitting") >= 10, "a handful to be posted")
    end_the_workers(up, within_s=30)
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 40}
    assert billed(sandbox) == Counter({f"p{n}": 1 for n in range(40)})
    assert sandbox.stats()["runs"] == 40


def test_a_worker_that_is_told_to_end_while_the_vendor_hangs_ends_all_the_same(up: Up, sandbox: Sandbox) -> None:
    sandbox.change(hang=1.0, task_s=3)
    batch = submit(up, sandbox, 4)
    until(lambda: sandbox.stats()["runs"] == 4, "the vendor to hang")
    sandbox.change(hang=0)
    # 25 s are theirs to finish, and nothing else is waited for.
    end_the_workers(up, within_s=45)
    up.run("watch", batch)
    assert up.status(batch)["counts"] == {"succeeded": 4}
    assert billed(sandbox) == Counter({f"p{n}": 1 for n in range(4)})


def test_a_worker_that_stood_still_beyond_its_lease_changes_nothing_when_it_wakes(up: Up, sandbox: Sandbox) -> None:
    sandbox.change(run_s=3)
    batch = submit(up, sandbox, 40)
    until(lambda: count(up, batch, "submitting") >= 10, "a handful to be posted")
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
