"""A batch of 100,000 items: validated, on the ledger, in Redis's memory, asked after."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import yaml
from redis import Redis

from benchmarks.environment import ValidationContext, surroundings
from pipeline.manifest import parser as manifests

_HERE = "benchmarks.scale"


def a_file(folder: Path, count: int) -> Path:
    """A manifest as people's scripts write it: a flow mapping a line."""
    file = folder / f"{count}.yaml"
    with file.open("w") as out:
        out.write("version: 1\nname: large\nitems:\n")
        for number in range(count):
            row = {"id": f"item-{number}", "image": f"https://example.com/pictures/{number}.jpg"}
            out.write(f"  - {json.dumps({**row, 'prompt': f'Take {number}: she turns to the camera and smiles'})}\n")
    return file


def measure(step: str, file: Path, around: ValidationContext) -> tuple[float, int]:
    """A step in a process of its own: (seconds, peak memory in MB)."""
    output, _ = around.program("-m", _HERE, step, str(file)).communicate(timeout=900)
    seconds, megabytes = output.split()
    return float(seconds), int(megabytes)


def step(name: str, file: Path) -> None:
    """What `measure` runs."""
    from pipeline.batches.service import Service
    from pipeline.settings import load

    service = Service.connect(load())
    service.ledger.redis.ping()
    service.storage.connect()
    began = time.perf_counter()
    text = file.read_bytes()
    if name == "loader":
        yaml.load(text, Loader=yaml.CSafeLoader)
    else:
        manifest = manifests.parse(text, file=str(file), read_rows=_no_rows, local_files=None)
        if name == "submit":
            service.submission.submit(manifest, file.stem, trigger="bench", folder=None)
    seconds = time.perf_counter() - began
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def _no_rows(reference: str) -> bytes:
    raise FileNotFoundError(reference)


def main(quick: bool) -> None:
    """Print the figures. No workers run: the batch stays pending."""
    count = 20_000 if quick else 100_000
    with surroundings(empty=True) as around:
        redis = Redis.from_url(around.environment["REDIS_URL"])
        small, large = a_file(around.folder, 100), a_file(around.folder, count)
        loader, _ = measure("loader", large, around)
        validate, _ = measure("validate", large, around)
        measure("submit", small, around)
        before = redis.info("memory")["used_memory"]
        submit, megabytes = measure("submit", large, around)
        per_item = (redis.info("memory")["used_memory"] - before) / count
        print(f"\nScale, a manifest of {count:,} items")
        print(f"  PyYAML's C loader alone            {loader:.2f} s")
        print(f"  validated                          {validate:.2f} s, {validate / loader:.2f} x")
        print(f"  validated and on the ledger        {submit:.2f} s, {submit / loader:.2f} x, at most {megabytes} MB")
        print(f"  Redis per pending item             {per_item:,.0f} bytes")
        few, pluralize = _status_s(around, small.stem), _status_s(around, large.stem)
        print(f"  status of 100 items {few:.2f} s, of {count:,} {pluralize:.2f} s, {pluralize / few:.2f} x")


def _status_s(around: ValidationContext, batch: str) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        process = around.program("-m", "pipeline", "status", batch, "--json")
        process.communicate(timeout=60)
        times.append(time.perf_counter() - began)
    return sorted(times)[1]


if __name__ == "__main__":
    step(sys.argv[1], Path(sys.argv[2]))
