"""The servers of every measurement, on the same cores: Valkey with its append-only file, SeaweedFS, the sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from redis import Redis
from support.processes import ROOT, Up, an_up, bare_environment, s3_environment

from pipeline.batches.service import Service
from pipeline.local.servers import running_s3, running_valkey
from pipeline.sandbox.process_handle import Sandbox, running_sandbox
from pipeline.settings import load

BUCKET = "bench"
OUTPUT_BYTES = 200_000


@dataclass(frozen=True)
class Servers:
    """The servers, and the settings with which the service uses them."""

    folder: Path
    sandbox: Sandbox
    environment: Mapping[str, str]

    @property
    def image(self) -> str:
        """The URL of an image for the vendor."""
        return f"http://{self.sandbox.address}/samples/portrait.jpg"

    def program(self, *args: str) -> subprocess.Popen[str]:
        """Start a Python program as a process whose stdout is a pipe."""
        environment = {**bare_environment(), **self.environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        return subprocess.Popen(
            [sys.executable, *args],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def service(self) -> Service:
        """Return the service, connected to the servers."""
        return Service.connect(load(self.environment))


_DEFAULT_OPTIONS: dict[str, object] = {"task_s": 1.0, "run_s": 0.0, "lose_callbacks": 0.0}
"""The sandbox's options unless a part sets others."""


class _Shared:
    """Servers and a service that all parts of a quick run share; a full run starts new ones for each part."""

    def __init__(self) -> None:
        self.servers: Servers | None = None
        self.up: Up | None = None
        self.running = ExitStack()

    def stop_service(self) -> None:
        """Stop the service and empty the ledger."""
        self.running.close()
        self.up = None
        if self.servers:
            Redis.from_url(self.servers.environment["REDIS_URL"]).flushall()


_SHARED = _Shared()


@contextmanager
def shared() -> Iterator[None]:
    """Let all parts share servers and a service until the end of the block."""
    with running_servers() as servers:
        _SHARED.servers = servers
        try:
            yield
        finally:
            _SHARED.stop_service()
            _SHARED.servers = None


@contextmanager
def running_servers(*, empty: bool = False, **options: Any) -> Iterator[Servers]:
    """Run the servers until the end of the block.

    empty: without a service and with an empty ledger. options: options of the sandbox.
    """
    if _SHARED.servers:
        if empty:
            _SHARED.stop_service()
        _SHARED.servers.sandbox.change(**{**_DEFAULT_OPTIONS, **options})
        yield _SHARED.servers
        return
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        folder = Path(name)
        for part in ("redis", "s3", "state"):
            (folder / part).mkdir()
        with (
            running_valkey(folder / "redis") as redis_url,
            running_s3(folder / "s3", BUCKET) as s3,
            running_sandbox(
                log=folder / "sandbox.log", output_bytes=OUTPUT_BYTES, balance=900_000, **options
            ) as sandbox,
        ):
            environment = {
                **sandbox.environment,
                **s3_environment(s3),
                "REDIS_URL": redis_url,
                "PIPELINE_OUTPUT": f"s3://{BUCKET}/out/",
                "PIPELINE_SECRET": "bench",
                "PIPELINE_PUBLIC_URL": Up(folder / "state", {}).url,
                "BENCH_BUCKET": BUCKET,
            }
            os.environ.update(environment)
            yield Servers(folder, sandbox, environment)


@contextmanager
def dailies(servers: Servers, workers: int = 2) -> Iterator[Up]:
    """Run the whole service on these servers until the end of the block."""
    if servers is not _SHARED.servers:
        with an_up(servers.folder / "state", servers.environment, workers=workers) as up:
            yield up
        return
    if _SHARED.up and _SHARED.up.workers != workers:
        _SHARED.stop_service()
    if _SHARED.up is None:
        _SHARED.up = _SHARED.running.enter_context(
            an_up(servers.folder / "state", servers.environment, workers=workers)
        )
    yield _SHARED.up


def spread(values: list[float], unit: str = "") -> str:
    """Return the median of several measurements, with the lowest and the highest."""
    return f"{median(values):,.1f}{unit} ({min(values):,.1f}-{max(values):,.1f})"
