"""The main path through the commands, with external servers and a strict vendor."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import urllib.request
from collections import Counter
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import av
from support.processes import PIPELINE, ROOT, Up, a_manifest, an_up, results, until

from pipeline.local.servers import S3Env
from pipeline.sandbox.process_handle import Sandbox
from pipeline.storage.s3 import Storage

SAMPLES = ROOT / "config" / "samples"


def mixed_items(folder: Path, sandbox: Sandbox, storage: Storage, bucket: str, count: int) -> list[dict[str, Any]]:
    """Return items whose images are files, URLs and S3 objects in turn."""
    for name in ("astronaut.jpg", "portrait.jpg"):
        (folder / name).write_bytes((SAMPLES / name).read_bytes())
    storage.put(f"{bucket}vault/portrait.jpg", (SAMPLES / "portrait.jpg").read_bytes(), "image/jpeg")
    images = [
        "astronaut.jpg",
        f"http://{sandbox.address}/samples/portrait.jpg",
        f"{bucket}vault/portrait.jpg",
        "portrait.jpg",
    ]
    return [{"id": f"i{n}", "image": images[n % 4], "prompt": f"take {n % 7}", "params": {}} for n in range(count)]


def test_fifty_mixed_items_are_run_and_billed_once(
    up: Up, sandbox: Sandbox, storage: Storage, tmp_path: Path, bucket: str
) -> None:
    manifest = a_manifest(tmp_path, mixed_items(tmp_path, sandbox, storage, bucket, 50))
    batch = up.run("submit", manifest, "--wait").splitlines()[-1]
    status = up.status(batch)
    assert status["counts"] == {"succeeded": 50}
    document = results(storage, status)
    assert [item["id"] for item in document["items"]] == [f"i{n}" for n in range(50)]
    assert document["cost_usd"] == status["cost_usd"] == "4.5"
    assert Decimal(sandbox.stats()["billed_usd"]) == Decimal("4.5")
    tasks = {task["id"]: task for task in sandbox.tasks()}
    assert len(tasks) == 50
    assert {item["task_id"] for item in document["items"]} == set(tasks)
    for item in document["items"]:
        (output,) = item["outputs"]
        data = storage.get(output["uri"])
        assert data == cdn_bytes(sandbox, item["task_id"])
        assert data is not None
        assert (output["size"], output["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    is_a_video(storage.get(document["items"][0]["outputs"][0]["uri"]) or b"")
    for name in ("manifest.yaml", "results.jsonl", "results.csv", "index.html"):
        assert storage.info(status["output"] + name), name


def cdn_bytes(sandbox: Sandbox, task_id: str) -> bytes:
    (url,) = next(task["urls"] for task in sandbox.tasks() if task["id"] == task_id)
    with urllib.request.urlopen(url, timeout=10) as response:
        data: bytes = response.read()
        return data


def is_a_video(data: bytes) -> None:
    with av.open(io.BytesIO(data), "r") as container:
        (stream,) = container.streams.video
        assert stream.codec_context.name == "h264"
        assert container.duration is not None
        assert abs(container.duration / 1_000_000 - 6) < 0.2
        assert len(list(container.decode(stream))) > 100


def test_the_same_id_from_two_processes_is_one_batch(up: Up, sandbox: Sandbox, tmp_path: Path) -> None:
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    manifest = a_manifest(tmp_path, [{"id": f"i{n}", "image": image, "prompt": f"p{n}"} for n in range(10)])
    command = [*PIPELINE, "submit", manifest, "--batch-id", "same", "--wait"]
    pair = [
        subprocess.Popen(command, cwd=ROOT, env=up.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    for process in pair:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        assert output.splitlines()[-1] == b"same"
    assert up.run("submit", manifest, "--batch-id", "same", "--wait").splitlines()[-1] == "same"
    assert Counter(task["prompt"] for task in sandbox.tasks()) == Counter(f"p{n}" for n in range(10))


def test_a_restart_in_the_middle_of_a_batch_loses_nothing(
    tmp_path: Path, environment: dict[str, str], sandbox: Sandbox, storage: Storage, bucket: str
) -> None:
    sandbox.change(task_s=1.0)
    with an_up(tmp_path / "state", {**environment, "PIPELINE_MAX_ACTIVE": "6"}) as up:
        manifest = a_manifest(tmp_path, mixed_items(tmp_path, sandbox, storage, bucket, 24))
        batch = up.run("submit", manifest).splitlines()[-1]
        until(lambda: up.status(batch)["counts"].get("succeeded", 0) >= 4, "some items")
        assert up.stop() == 0
        assert up.pids("") == [], "no process is left"
        up.start()
        up.run("watch", batch)
        assert up.status(batch)["counts"] == {"succeeded": 24}
    assert sandbox.stats()["billed_tasks"] == 24


def test_killed_processes_are_restarted_and_nothing_is_lost(up: Up, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.change(task_s=1.0)
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    manifest = a_manifest(tmp_path, [{"id": f"i{n}", "image": image, "prompt": f"p{n}"} for n in range(40)])
    batch = up.run("submit", manifest).splitlines()[-1]
    for command in ("rq worker", "pipeline.web", "jobs.cron", "rq worker"):
        until(partial(up.pids, command), command)
        for pid in up.pids(command):
            kill(pid)
        until(partial(up.pids, command), f"{command} to restart")
    up.run("watch", batch)
    status = up.status(batch)
    # If a worker is killed between a post and its response, the callback finds the run.
    assert status["counts"] == {"succeeded": 40}
    assert sandbox.stats()["billed_tasks"] == 40


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_failed_item_shows_the_error_of_the_vendor(
    up: Up, sandbox: Sandbox, storage: Storage, tmp_path: Path
) -> None:
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    items = [{"id": "good", "image": image, "prompt": "p"}, {"id": "bad", "image": image, "prompt": "p #fail"}]
    manifest = a_manifest(tmp_path, items, limits={"attempts": 2})
    batch = up.run("submit", manifest, "--wait", code=1).splitlines()[-1]
    document = results(storage, up.status(batch))
    assert document["status"] == "partial"
    good, bad = document["items"]
    assert (good["status"], bad["status"], bad["attempts"], bad["cost_usd"]) == ("succeeded", "failed", 2, "0")
    assert bad["error"] == "ValueError: the subject's face could not be found"
    assert Decimal(document["cost_usd"]) == Decimal("0.09")


def test_without_a_public_url_runs_are_polled(up: Up, sandbox: Sandbox, tmp_path: Path) -> None:
    assert "PIPELINE_PUBLIC_URL" not in up.environment
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    up.run("submit", a_manifest(tmp_path, [{"id": "one", "image": image, "prompt": "p"}]), "--wait")
    assert sandbox.tasks()[0]["callback_url"] == ""


def test_callbacks_work_without_polls(
    tmp_path: Path, environment: dict[str, str], sandbox: Sandbox, s3_server: S3Env
) -> None:
    up = Up(tmp_path / "state", environment)
    slow = {"PIPELINE_POLL_AFTER_S": "3600", "PIPELINE_SWEEP_EVERY_S": "3600", "PIPELINE_PUBLIC_URL": up.url}
    with an_up(tmp_path / "state", {**environment, **slow}) as up:
        image = f"http://{sandbox.address}/samples/portrait.jpg"
        manifest = a_manifest(tmp_path, [{"id": f"i{n}", "image": image, "prompt": f"p{n}"} for n in range(5)])
        up.run("submit", manifest, "--wait")
    assert all(task["calls"] == [200] for task in sandbox.tasks())


def test_an_invalid_manifest_creates_no_batch(up: Up, sandbox: Sandbox, tmp_path: Path) -> None:
    items: list[dict[str, Any]] = [{"id": "../up", "image": "nope.jpg", "prompt": "p", "colour": "red"}, {"id": "x"}]
    manifest = a_manifest(tmp_path, items, nmae="typo")
    up.run("submit", manifest, code=2)
    output = up.run("validate", manifest, code=2)
    assert len(output.splitlines()) >= 5, output
    assert json.loads(up.run("status", "--json"))["batches"] == []
    assert sandbox.tasks() == []
