"""What every measurement runs against: Valkey with its append-only file, SeaweedFS, the sandbox, on the same cores."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from running import ROOT, Sandbox, Up, a_sandbox, an_up, bare_environment, s3_environment

from pipeline.embedded import running_s3, running_valkey
from pipeline.service import Service
from pipeline.settings import load

BUCKET = "bench"
OUTPUT_BYTES = 200_000


@dataclass(frozen=True)
class Surroundings:
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
        return Service.from_settings(load(self.environment))


@contextmanager
def surroundings(**options: object) -> Iterator[Surroundings]:
    """Servers of their own until the block ends. `options` are the sandbox's."""
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
            yield Surroundings(folder, sandbox, environment)


@contextmanager
def dailies(around: Surroundings, workers: int = 2) -> Iterator[Up]:
    """The whole service on these surroundings."""
    with an_up(around.folder / "state", around.environment, workers=workers) as up:
        yield up


def spread(values: list[float], unit: str = "") -> str:
    """The median of several measurements, with the lowest and the highest."""
    return f"{median(values):,.1f}{unit} ({min(values):,.1f}-{max(values):,.1f})"
