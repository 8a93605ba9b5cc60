"""An S3 server that refuses, fails and cuts connections: errors are shown and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.faulty_proxy import FaultyProxy, a_faulty_proxy
from support.processes import QUICK, OwnRedis, Up, a_manifest, an_up, results, s3_environment, until

from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.sandbox.process_handle import Sandbox, running_sandbox
from pipeline.storage.s3 import Storage, split

ITEMS = 6
SIZE = 7_000_000
"""Bytes of an output: two parts of a multipart upload."""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with running_sandbox(log=tmp_path / "sandbox.log", task_s=5, output_bytes=SIZE) as sandbox:
        yield sandbox


@pytest.fixture
def proxy(s3_server: S3Env) -> Iterator[FaultyProxy]:
    address = urlsplit(s3_server.endpoint)
    with a_faulty_proxy((str(address.hostname), int(address.port or 80))) as proxy:
        yield proxy


@pytest.fixture
def up(tmp_path: Path, redis: OwnRedis, sandbox: Sandbox, proxy: FaultyProxy, s3_server: S3Env) -> Iterator[Up]:
    environment = {
        **QUICK,
        **sandbox.environment,
        **s3_environment(s3_server),
        "AWS_ENDPOINT_URL_S3": proxy.url,
        "REDIS_URL": redis.url,
        "PIPELINE_OUTPUT": f"s3://{s3_server.bucket}/{tmp_path.name}/",
    }
    with an_up(tmp_path / "state", environment) as up:
        yield up


def test_errors_of_s3_are_shown_and_the_batch_completes_once_s3_works(
    up: Up, redis: OwnRedis, sandbox: Sandbox, proxy: FaultyProxy, storage: Storage, tmp_path: Path
) -> None:
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": f"p{n}"} for n in range(ITEMS)]
    manifest = a_manifest(tmp_path, items, limits={"attempts": 1})

    proxy.fail(1.0, "denied")
    up.run("submit", manifest, "--batch-id", "b", code=3)
    proxy.fail(0)
    up.run("submit", manifest, "--batch-id", "b")

    # Denied before the first post: no run without its journal entry. Denied at the copy: the item shows the error.
    ledger = Ledger.connect(redis.url)
    until(lambda: sandbox.stats()["runs"] == ITEMS, "all runs")
    proxy.fail(1.0, "denied")
    until(lambda: ledger.batches.get("b").counts.get("failed") == ITEMS, "the copies to fail")
    status = up.status("b")
    assert (status["finished"], status["cost_usd"]) == (None, "0.54")
    check_errors(json.loads(up.run("items", "b", "--json")))

    # S3 works again: the batch ends. A retry only copies, also while some requests to S3 still fail.
    proxy.fail(0)
    until(lambda: up.status("b")["finished"], "the batch to end")
    assert results(storage, up.status("b"))["counts"] == {"failed": ITEMS}
    proxy.fail(0.3, "503", "500", "cut", "cut late")
    up.run("retry", "b")
    until(lambda: uploads(storage, status["output"]) or _ended(ledger), "a copy to be under way")
    for pid in up.pids("rq worker"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: _ended(ledger), "the copies to be made")
    proxy.fail(0)
    up.run("retry", "b")
    up.run("watch", "b")
    status = up.status("b")
    assert status["counts"] == {"succeeded": ITEMS}
    assert [item["outputs"][0]["size"] for item in results(storage, status)["items"]] == [SIZE] * ITEMS
    for item in results(storage, status)["items"]:
        info = storage.info(item["outputs"][0]["uri"])
        assert info
        assert info.size == SIZE
    assert uploads(storage, status["output"]) == []
    assert Counter(task["prompt"] for task in sandbox.tasks()) == Counter(f"p{n}" for n in range(ITEMS))


def check_errors(items: list[dict[str, Any]]) -> None:
    """Check that every item shows what S3 refused and what to do."""
    for item in items:
        assert "is paid" in item["error"]
        assert "AccessDenied" in item["error"]
        assert "AWS_" in item["error"]


def uploads(storage: Storage, prefix: str) -> list[str]:
    """Return the keys of unfinished multipart uploads under `prefix`."""
    bucket, start = split(prefix)
    pending = storage._s3.list_multipart_uploads(Bucket=bucket, Prefix=start).get("Uploads", [])
    return [upload["Key"] for upload in pending]


def _ended(ledger: Ledger) -> bool:
    counts = ledger.batches.get("b").counts
    return counts.get("succeeded", 0) + counts.get("failed", 0) == ITEMS
