"""An uploaded object becomes videos, through a running service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from support.processes import PIPELINE, ROOT, Up, an_up, bare_environment, until

from pipeline.batches import job_queue
from pipeline.sandbox.process_handle import Sandbox
from pipeline.storage.s3 import Storage

PORTRAIT = (ROOT / "config" / "samples" / "portrait.jpg").read_bytes()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return tmp_path / "triggers.yaml"


@pytest.fixture
def up(tmp_path: Path, environment: dict[str, str], rules: Path) -> Iterator[Up]:
    """A service whose triggers are edited while it runs."""
    with an_up(tmp_path / "state", {**environment, "PIPELINE_TRIGGERS": str(rules)}) as up:
        yield up


def status_of(storage: Storage, uri: str) -> dict[str, Any]:
    document = json.loads(storage.get(f"{uri}.status.json") or b"{}")
    assert isinstance(document, dict)
    return document


def ended(storage: Storage, uri: str) -> dict[str, Any]:
    until(lambda: "results" in status_of(storage, uri), f"the results of {uri}")
    return status_of(storage, uri)


def test_uploaded_objects_become_videos_and_their_status_files_name_the_results(
    up: Up, sandbox: Sandbox, storage: Storage, bucket: str, rules: Path
) -> None:
    rules.write_text(
        "triggers:\n"
        f"- {{name: inbox, source: listing, watch: '{bucket}inbox/', start: manifest, every_s: 1}}\n"
        f"- {{name: faces, source: push, watch: '{bucket}faces/', start: images, prompts: [smiles, runs],"
        f" output: '{bucket}videos/', gather_s: 1}}\n"
    )
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    manifest = f"version: 1\nname: la-street\nitems: [{{image: '{image}', prompt: uploaded}}]\n"
    storage.put(f"{bucket}inbox/la street.yaml", manifest.encode(), "application/yaml")
    storage.put(f"{bucket}inbox/bad.yaml", b"version: 1\nname: x\nitems: []\ncolour: red\n", "application/yaml")
    faces = [f"{bucket}faces/{n}.jpg" for n in range(3)]
    for uri in faces:
        storage.put(uri, PORTRAIT, "image/jpeg")
        notify(up, uri)
        notify(up, uri)

    status = ended(storage, f"{bucket}inbox/la street.yaml")
    assert (status["status"], status["batch_status"]) == ("accepted", "succeeded")
    results = json.loads(storage.get(status["results"]) or b"{}")
    assert (results["trigger"], results["counts"]) == ("trigger:inbox", {"succeeded": 1})
    assert storage.info(results["items"][0]["outputs"][0]["uri"])

    gathered = {ended(storage, uri)["batch_id"] for uri in faces}
    results = [json.loads(storage.get(ended(storage, uri)["results"]) or b"{}") for uri in faces]
    videos = {item["outputs"][0]["uri"] for result in results for item in result["items"]}
    assert len(videos) == 6
    assert all(uri.startswith(f"{bucket}videos/") for uri in videos)

    rejected = status_of(storage, f"{bucket}inbox/bad.yaml")
    assert rejected["status"] == "rejected"
    assert {error["line"] for error in rejected["errors"]} >= {3, 4}
    assert len(sandbox.tasks()) == 7
    assert all(batch in up.run("list") for batch in gathered)
    # If a worker crashes between the end of a batch and its status files, the delayed job writes them.
    assert {(job.func_name, *job.args) for job in delayed_jobs(up)} >= {
        (job_queue.Job.WRITE_STATUS_FILES, batch) for batch in (status["batch_id"], *gathered)
    }


def delayed_jobs(up: Up) -> list[Job]:
    """Return the jobs that are scheduled for later."""
    redis = Redis.from_url(up.environment["REDIS_URL"])
    registry = Queue("dailies", connection=redis, serializer=JSONSerializer).scheduled_job_registry
    jobs = Job.fetch_many(registry.get_job_ids(), redis, JSONSerializer)
    redis.close()
    return [job for job in jobs if job]


def notify(up: Up, uri: str) -> None:
    """Send an event as MinIO's webhook does."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    s3_object = {"bucket": {"name": bucket}, "object": {"key": key.replace("/", "%2F")}}
    body = json.dumps({"Records": [{"eventName": "s3:ObjectCreated:Put", "s3": s3_object}]}).encode()
    headers = {"Content-Type": "application/json", **up.bearer()}
    request = urllib.request.Request(f"{up.url}/events/s3", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


def test_listen_waits_for_triggers_keeps_the_last_valid_ones_and_stops_on_sigterm(
    environment: dict[str, str], tmp_path: Path, rules: Path, storage: Storage, bucket: str
) -> None:
    log = tmp_path / "listen.log"
    variables = {**bare_environment(), **environment, "PIPELINE_TRIGGERS": str(rules)}
    command = [*PIPELINE, "listen"]
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr, env=variables, cwd=ROOT) as listener:
        try:
            until(lambda: b"listener_idle" in log.read_bytes(), "the listener")
            good = (
                f"triggers: [{{name: inbox, source: listing, watch: '{bucket}inbox/', start: manifest, every_s: 1}}]\n"
            )
            rules.write_text(good)
            upload_and_wait(storage, f"{bucket}inbox/a.yaml")
            rules.write_text("triggers: [{name: Broken}]\n")
            until(lambda: b"triggers_load_failed" in log.read_bytes(), "the report of the invalid edit")
            upload_and_wait(storage, f"{bucket}inbox/b.yaml")
            rules.write_text(good.replace("inbox/", "elsewhere/"))
            until(lambda: log.read_bytes().count(b'"triggers_loaded"') >= 2, "the edit")
            upload_and_wait(storage, f"{bucket}elsewhere/c.yaml")
            assert status_of(storage, f"{bucket}elsewhere/c.yaml")["batch_id"].startswith("inbox-")
        finally:
            os.kill(listener.pid, signal.SIGTERM)
            assert listener.wait(30) == 0


def upload_and_wait(storage: Storage, uri: str) -> None:
    storage.put(uri, b"version: 1\nname: x\nitems: [{prompt: y, image: 'https://example.com/1.jpg'}]\n", "text/yaml")
    until(lambda: status_of(storage, uri).get("status") == "accepted", f"the status of {uri}")
