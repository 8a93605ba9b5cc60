"""The service as processes, started by its commands as a user does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipeline.local.servers import HOST, S3Env, free_ports, running_valkey
from pipeline.storage.s3 import Storage
from support.access import bearer, token_of

ROOT = Path(__file__).parents[2]
QUICK = {
    "PIPELINE_POLL_AFTER_S": "1",
    "PIPELINE_SWEEP_EVERY_S": "1",
    "PIPELINE_ADOPT_WAIT_S": "5",
    "PIPELINE_LEASE_S": "5",
}
"""Settings with short waits."""
SETTINGS = ("REDIS_URL", "WIRO_", "PIPELINE_", "AWS_")
T = TypeVar("T")


def bare_environment() -> dict[str, str]:
    """Return the environment of this process without the settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}


def until(condition: Callable[[], T], what: str, timeout_s: float = 300) -> T:
    """Wait until `condition` holds. Return its value. Raises AssertionError with `what` after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"Timeout: waited {timeout_s:.0f} s for {what}."
        time.sleep(0.02)
    return value


class OwnRedis:
    """A Valkey with an append-only file that one test may stop, kill and start."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._running = ExitStack()
        self.url = self._running.enter_context(running_valkey(folder))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Send SIGKILL. `start` starts it again."""
        self.signal(signal.SIGKILL)
        self._running.close()

    def start(self) -> None:
        """Start it at the same address with the content of its append-only file."""
        assert self._running.enter_context(running_valkey(self._folder)) == self.url

    def close(self) -> None:
        """Stop it in any state."""
        self.signal(signal.SIGCONT)
        self._running.close()

    def _pids(self) -> Iterator[int]:
        address = urlsplit(self.url).path.encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if address in (folder / "cmdline").read_bytes().split(b"\0")[0]:
                    yield int(folder.name)


class Up:
    """`python -m pipeline up` as a process, and a method that runs the other commands."""

    def __init__(self, state: Path, environment: Mapping[str, str], *, workers: int = 2) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        self.environment = {**bare_environment(), **environment}
        (self.port,) = free_ports(state, 1)
        self.url = f"http://{HOST}:{self.port}"
        self.workers = workers
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until the service is ready."""
        command = [*PIPELINE, "up", "--state", str(self.state), "--port", str(self.port)]
        with (self.state / "up.log").open("ab") as log:
            log_start = log.tell()
            self.process = subprocess.Popen(
                [*command, "--workers", str(self.workers)], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        # Not /readyz: after a SIGKILL the web process of the previous run may still respond for a moment.
        until(lambda: b"\nReady" in (self.state / "up.log").read_bytes()[log_start:], "`up` to be ready")

    def stop(self) -> int:
        """Send SIGTERM. Return the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(180)

    @property
    def token(self) -> str:
        """The API token."""
        return token_of(self.state)

    def bearer(self) -> dict[str, str]:
        """Return the headers of a request that the service accepts."""
        return bearer(self.token)

    def sign_in_address(self) -> str:
        """Return the address that the last start printed."""
        return str(re.findall(r"^Open (\S+)$", (self.state / "up.log").read_text(), re.M)[-1])

    def run(self, *args: str, code: int = 0, timeout_s: float = 600) -> str:
        """Run another command for the same state and check that it exits with `code`. Return its stdout."""
        completed = subprocess.run(
            [*PIPELINE, *args, "--state", str(self.state)],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        message = f"{args} exited with {completed.returncode}:\n{completed.stdout}\n{completed.stderr}"
        assert completed.returncode == code, message
        return completed.stdout

    def status(self, batch: str) -> dict[str, Any]:
        """Return the output of `status BATCH --json`."""
        document: dict[str, Any] = json.loads(self.run("status", batch, "--json"))
        return document

    def pids(self, words: str) -> list[int]:
        """Return the ids of this service's processes whose command line contains `words`."""
        pids = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"DAILIES_STATE={self.state}".encode() in (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            # Embedded servers inherit no mark, but have a folder of the state on their command lines.
            if (marked or f"{self.state}/" in command) and words in command:
                pids.append(int(folder.name))
        return pids


PIPELINE = [sys.executable, "-m", "pipeline"]


@contextmanager
def an_up(state: Path, environment: Mapping[str, str], *, workers: int = 2) -> Iterator[Up]:
    """Run a service until the end of the block; the block starts when the service is ready."""
    up = Up(state, {**environment, "DAILIES_STATE": str(state)}, workers=workers)
    try:
        up.start()
        yield up
    finally:
        if up.process and up.process.poll() is None:
            up.stop()


def answers(url: str) -> bool:
    """Return whether `url` responds with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def s3_environment(server: S3Env) -> dict[str, str]:
    """Return the settings with which the service and boto3 use `server`."""
    return {
        "AWS_ENDPOINT_URL_S3": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def a_manifest(folder: Path, items: list[dict[str, Any]], **head: object) -> str:
    """Write a manifest file to `folder`. Return its path."""
    file = folder / "batch.yaml"
    file.write_text(json.dumps({"version": 1, "name": "batch", **head, "items": items}), encoding="utf-8")
    return str(file)


def results(storage: Storage, status: dict[str, Any]) -> dict[str, Any]:
    """Return the results.json of the batch with this status."""
    text = storage.get(status["output"] + "results.json")
    assert text
    document: dict[str, Any] = json.loads(text)
    return document
