"""Start a sandbox as a process and control it: for tests, benchmarks and soak tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import urllib3

from pipeline.errors import DailiesError

_STOP_S = 5.0
_TIMEOUT_S = 10.0
_ADDRESS = re.compile(r"http://\S+?/v1")


class SandboxDidNotStart(DailiesError):
    """The sandbox did not start. Its stderr has the reason."""


@dataclass(frozen=True)
class Sandbox:
    """The addresses of a sandbox, the key and secret that it accepts, and its control API."""

    url: str
    """Base of its API, `http://host:port/v1`."""
    key: str
    secret: str
    _http: urllib3.PoolManager = field(default_factory=urllib3.PoolManager, repr=False)

    @property
    def socket_url(self) -> str:
        """The address of its WebSocket."""
        return "ws" + self.url.removeprefix("http")

    @property
    def address(self) -> str:
        """`host:port`, the form of PIPELINE_FETCH_HOSTS."""
        return self.url.removeprefix("http://").removesuffix("/v1")

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which the service uses this sandbox."""
        return {
            "WIRO_API_URL": self.url,
            "WIRO_SOCKET_URL": self.socket_url,
            "WIRO_API_KEY": self.key,
            "WIRO_API_SECRET": self.secret,
            "PIPELINE_FETCH_HOSTS": self.address,
        }

    def stats(self) -> dict[str, Any]:
        """Return its counts."""
        return self._request("GET", "stats")

    def tasks(self) -> list[dict[str, Any]]:
        """Return every task, oldest first."""
        tasks: list[dict[str, Any]] = self._request("GET", "tasks")["tasks"]
        return tasks

    def change(self, **options: Any) -> None:
        """Change options. Raises ValueError if one is invalid."""
        self._request("PATCH", "options", json.dumps(options, default=str))

    def reset(self) -> None:
        """Delete tasks and counts and restore the first options."""
        self._request("POST", "reset")

    def _request(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        url = f"http://{self.address}/_sandbox/{path}"
        headers = {"x-api-key": self.key}
        response = self._http.request(method, url, body=body, headers=headers, timeout=_TIMEOUT_S, retries=False)
        document: dict[str, Any] = response.json()
        if response.status != 200:
            raise ValueError(document.get("error") or f"HTTP {response.status}")
        return document


@contextmanager
def running_sandbox(
    *, port: int = 0, key: str = "", secret: str = "", log: Path | None = None, **options: object
) -> Iterator[Sandbox]:
    """Run a sandbox on this machine until the end of the block.

    port: 0 takes a free one. key, secret: generated if empty. log: a file for its stderr. options: options of the
    command, `output_bytes=1000` for `--output-bytes=1000`.
    Raises SandboxDidNotStart.
    """
    key, secret = key or token_urlsafe(16), secret or token_urlsafe(16)
    with ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "sandbox", f"--port={port}", *_flags(options)],
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(log.open("ab")) if log else None,
            text=True,
            env={**os.environ, "WIRO_API_KEY": key, "WIRO_API_SECRET": secret},
        )
        stack.callback(_stop, process)
        first_line = process.stdout.readline() if process.stdout else ""
        address = _ADDRESS.search(first_line)
        if address is None:
            raise SandboxDidNotStart
        yield Sandbox(address[0], key, secret)


def _flags(options: dict[str, object]) -> Iterator[str]:
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        yield flag if value is True else f"{flag}={value}"


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
