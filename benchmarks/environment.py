"""What every measurement runs against: Valkey with its append-only file, SeaweedFS, the sandbox, on the same cores."""

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

from redis import Redis
from support.processes import ROOT, Sandbox, Up, a_sandbox, an_up, bare_environment, s3_environment

from pipeline.batches.service import Service
from pipeline.local.servers import running_s3, running_valkey
from pipeline.settings import load

BUCKET = "bench"
OUTPUT_BYTES = 200_000


@dataclass(frozen=True)
class ValidationContext:
    """Servers, and the environment that leads to them."""

    folder: Path
    sandbox: Sandbox
    environment: Mapping[str, str]

    @property
    def image(self) -> str:
        """A picture that the vendor can fetch."""
        return f"http://{self.sandbox.place}/samples/portrait.jpg"

    def program(self, *args: str) -> subprocess.Popen[str]:
        """A program of these benchmarks as a process, its stdout to be read."""
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
        """The service's verbs, for this process."""
        return Service.connect(load(self.environment))


_PLAIN: dict[str, object] = {"task_s": 1.0, "run_s": 0.0, "lose_callbacks": 0.0}
"""The sandbox's options where a part does not say otherwise."""


class _Shared:
    """What the parts of a quick run use one after the other, where a full one makes it anew for each."""

    def __init__(self) -> None:
        self.servers: ValidationContext | None = None
        self.up: Up | None = None
        self.running = ExitStack()

    def end_service(self) -> None:
        """No service, and nothing on the ledger."""
        self.running.close()
        self.up = None
        if self.servers:
            Redis.from_url(self.servers.environment["REDIS_URL"]).flushall()


_SHARED = _Shared()


@contextmanager
def shared() -> Iterator[None]:
    """Until the block ends all parts use the same servers, and the same service of two workers where they need one."""
    with surroundings() as around:
        _SHARED.servers = around
        try:
            yield
        finally:
            _SHARED.end_service()
            _SHARED.servers = None


@contextmanager
def surroundings(*, empty: bool = False, **options: object) -> Iterator[ValidationContext]:
    """Servers until the block ends. `options` are the sandbox's. `empty`: with no service and nothing on the ledger."""
    if _SHARED.servers:
        if empty:
            _SHARED.end_service()
        _SHARED.servers.sandbox.change(**{**_PLAIN, **options})
        yield _SHARED.servers
        return
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        folder = Path(name)
        for part in ("redis", "s3", "sandbox", "state"):
            (folder / part).mkdir()
        with (
            running_valkey(folder / "redis") as redis_url,
            running_s3(folder / "s3", BUCKET) as s3,
            a_sandbox(folder / "sandbox", output_bytes=OUTPUT_BYTES, balance=900_000, **options) as sandbox,
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
            yield ValidationContext(folder, sandbox, environment)


@contextmanager
def dailies(around: ValidationContext, workers: int = 2) -> Iterator[Up]:
    """The whole service on these surroundings."""
    if around is not _SHARED.servers:
        with an_up(around.folder / "state", around.environment, workers=workers) as up:
            yield up
        return
    if _SHARED.up and _SHARED.up.workers != workers:
        _SHARED.end_service()
    if _SHARED.up is None:
        _SHARED.up = _SHARED.running.enter_context(an_up(around.folder / "state", around.environment, workers=workers))
    yield _SHARED.up


def spread(values: list[float], unit: str = "") -> str:
    """The median of several measurements, with the lowest and the highest."""
    return f"{median(values):,.1f}{unit} ({min(values):,.1f}-{max(values):,.1f})"
