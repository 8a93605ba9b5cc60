"""The service and its stand-in for Wiro as processes, as a user has them: for tests that go through the commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.local.servers import HOST, S3Env, free_ports, running_valkey
from pipeline.storage.s3 import Storage

ROOT = Path(__file__).parents[2]
QUICK = {
    "PIPELINE_POLL_AFTER_S": "1",
    "PIPELINE_SWEEP_EVERY_S": "1",
    "PIPELINE_ADOPT_WAIT_S": "5",
    "PIPELINE_LEASE_S": "5",
}
"""Short waits."""
OURS = ("REDIS_URL", "WIRO_", "PIPELINE_", "AWS_")


def bare_environment() -> dict[str, str]:
    """This process's environment without any setting of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


def until(condition: Callable[[], object], what: str, timeout_s: float = 60) -> None:
    """Wait until `condition` holds; what did not come is named."""
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, f"waited {timeout_s:.0f} s in vain for {what}"
        time.sleep(0.05)


class Sandbox:
    """A sandbox of its own process."""

    def __init__(self, port: int) -> None:
        self.place = f"{HOST}:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes the service use it."""
        return {
            "WIRO_API_KEY": "sandbox-key",
            "WIRO_API_SECRET": "sandbox-secret",
            "WIRO_API_URL": f"http://{self.place}/v1",
            "WIRO_SOCKET_URL": f"ws://{self.place}/v1",
            "PIPELINE_FETCH_HOSTS": self.place,
        }

    def stats(self) -> dict[str, Any]:
        """Its counts."""
        return self._ask("stats")

    def tasks(self) -> list[dict[str, Any]]:
        """Every task that it took."""
        tasks: list[dict[str, Any]] = self._ask("tasks")["tasks"]
        return tasks

    def change(self, **options: object) -> None:
        """Change some of its options."""
        self._ask("options", method="PATCH", data=json.dumps(options).encode())

    def reset(self) -> None:
        """No tasks, no faults."""
        self._ask("reset", method="POST", data=b"")

    def _ask(self, what: str, method: str = "GET", data: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(f"http://{self.place}/_sandbox/{what}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            document: dict[str, Any] = json.load(answer)
            return document


@contextmanager
def a_sandbox(folder: Path, **options: object) -> Iterator[Sandbox]:
    """A sandbox with `options`, until the block ends. An option in capitals is a variable of its environment."""
    (port,) = free_ports(folder, 1)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if name.islower()]
    command = [sys.executable, "-m", "pipeline", "sandbox", "--port", str(port), *flags]
    sandbox = Sandbox(port)
    with (folder / "sandbox.log").open("wb") as log:
        environment = {**bare_environment(), **{name: str(value) for name, value in options.items() if name.isupper()}}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: answers(f"http://{sandbox.place}/_sandbox/stats"), "the sandbox")
        yield sandbox
    finally:
        process.kill()
        process.wait()


class OwnRedis:
    """A Redis (Valkey, with its append-only file) that a test may do anything to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._running = ExitStack()
        self.url = self._running.enter_context(running_valkey(folder))

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """`kill -9`; it stays away until it is started again."""
        self.signal(signal.SIGKILL)
        self._running.close()

    def start(self) -> None:
        """Back at the same address, with what its append-only file has."""
        assert self._running.enter_context(running_valkey(self._folder)) == self.url

    def close(self) -> None:
        """End it, whatever state it is in."""
        self.signal(signal.SIGCONT)
        self._running.close()

    def _pids(self) -> Iterator[int]:
        address = self.url.removeprefix("redis://").partition("/")[0].encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if address in (folder / "cmdline").read_bytes().split(b"\0")[0]:
                    yield int(folder.name)


class Up:
    """`python -m pipeline up` as a process, and the other commands beside it."""

    def __init__(self, state: Path, environment: Mapping[str, str], *, workers: int = 2) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        self.environment = {**bare_environment(), **environment}
        (self.port,) = free_ports(state, 1)
        self.url = f"http://{HOST}:{self.port}"
        self.workers = workers
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        command = [*PIPELINE, "up", "--state", str(self.state), "--port", str(self.port)]
        with (self.state / "up.log").open("ab") as log:
            said = log.tell()
            self.process = subprocess.Popen(
                [*command, "--workers", str(self.workers)], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        # Its own word first: after a kill the web process of before may answer a moment longer.
        until(lambda: b"Ready when" in (self.state / "up.log").read_bytes()[said:], "`up` to have started everything")
        until(lambda: answers(f"{self.url}/readyz"), "the service to be ready")

    def stop(self) -> int:
        """SIGTERM; answers the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def run(self, *args: str, code: int = 0, timeout_s: float = 120) -> str:
        """Run another command beside it; it must end with exit code `code`. Answers its stdout."""
        done = subprocess.run(
            [*PIPELINE, *args, "--state", str(self.state)],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def status(self, batch: str) -> dict[str, Any]:
        """`status BATCH --json`."""
        document: dict[str, Any] = json.loads(self.run("status", batch, "--json"))
        return document

    def pids(self, words: str) -> list[int]:
        """Processes of this service in whose command line `words` stand."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                mine = f"DAILIES_STATE={self.state}".encode() in (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if mine and words in command:
                found.append(int(folder.name))
        return found


PIPELINE = [sys.executable, "-m", "pipeline"]


@contextmanager
def an_up(state: Path, environment: Mapping[str, str], *, workers: int = 2) -> Iterator[Up]:
    """A service that is ready, until the block ends. Nothing of it is left then."""
    up = Up(state, {**environment, "DAILIES_STATE": str(state)}, workers=workers)
    try:
        up.start()
        yield up
    finally:
        if up.process and up.process.poll() is None:
            up.stop()


def answers(url: str) -> bool:
    """Whether `url` is answered with a success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def s3_environment(server: S3Env) -> dict[str, str]:
    """What makes the service, and boto3, use `server`."""
    return {
        "AWS_ENDPOINT_URL_S3": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def a_manifest(folder: Path, items: list[dict[str, Any]], **head: object) -> str:
    """A manifest file in `folder`; answers its path."""
    file = folder / "batch.yaml"
    file.write_text(json.dumps({"version": 1, "name": "batch", **head, "items": items}), encoding="utf-8")
    return str(file)


def results(storage: Storage, status: dict[str, Any]) -> dict[str, Any]:
    """results.json of the batch with this status."""
    text = storage.get(status["output"] + "results.json")
    assert text
    document: dict[str, Any] = json.loads(text)
    return document
