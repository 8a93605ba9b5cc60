"""A sandbox in a process of its own, and a handle on it: for tests, benchmarks and soaks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any

import urllib3

from pipeline.errors import DailiesError

_STOP_S = 5.0
_WAIT_S = 10.0
_ADDRESS = re.compile(r"http://\S+?/v1")


class SandboxDidNotStart(DailiesError):
    """The sandbox did not start."""


@dataclass(frozen=True)
class SandboxHandle:
    """Where a sandbox is, the key and secret that it accepts, and what can be asked of it."""

    url: str
    """Base of its API, `http://host:port/v1`."""
    key: str
    secret: str
    process_id: int
    _http: urllib3.PoolManager = field(default_factory=urllib3.PoolManager, repr=False)

    @property
    def socket_url(self) -> str:
        """Its WebSocket."""
        return "ws" + self.url.removeprefix("http")

    @property
    def place(self) -> str:
        """`host:port`, as PIPELINE_FETCH_HOSTS wants it."""
        return self.url.removeprefix("http://").removesuffix("/v1")

    def environment(self) -> dict[str, str]:
        """The settings that make the service use this sandbox."""
        return {
            "WIRO_API_URL": self.url,
            "WIRO_SOCKET_URL": self.socket_url,
            "WIRO_API_KEY": self.key,
            "WIRO_API_SECRET": self.secret,
            "PIPELINE_FETCH_HOSTS": self.place,
        }

    def stats(self) -> dict[str, Any]:
        """Its counts."""
        return self._ask("GET", "stats")

    def tasks(self) -> list[dict[str, Any]]:
        """Every task, oldest first."""
        tasks: list[dict[str, Any]] = self._ask("GET", "tasks")["tasks"]
        return tasks

    def set(self, **options: Any) -> None:
        """Change options from now on. Raises ValueError for wrong ones."""
        self._ask("PATCH", "options", json.dumps(options, default=str))

    def reset(self) -> None:
        """Forget tasks, counts and changed options."""
        self._ask("POST", "reset")

    def _ask(self, method: str, what: str, body: str | None = None) -> dict[str, Any]:
        answer = self._http.request(
            method, f"http://{self.place}/_sandbox/{what}", body=body, timeout=_WAIT_S, retries=False
        )
        document: dict[str, Any] = answer.json()
        if answer.status != 200:
            raise ValueError(document.get("error") or f"HTTP {answer.status}")
        return document


@contextmanager
def running_sandbox(*flags: str) -> Iterator[SandboxHandle]:
    """A sandbox on a free port of this machine, until the end of the block. `flags` are the command's. Its key and
    secret are new ones.

    Raises SandboxDidNotStart.
    """
    key, secret = token_urlsafe(16), token_urlsafe(16)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "sandbox", "--port", "0", *flags],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "WIRO_API_KEY": key, "WIRO_API_SECRET": secret},
    )
    try:
        first_line = process.stdout.readline() if process.stdout else ""
        address = _ADDRESS.search(first_line)
        if address is None:
            raise SandboxDidNotStart
        yield SandboxHandle(address[0], key, secret, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
