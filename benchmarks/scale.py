"""A batch of 100,000 items: seconds to validate, submit and show it, and its memory in Redis."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import yaml
from redis import Redis

from benchmarks.environment import Servers, running_servers
from pipeline.manifest import parser as manifests

_HERE = "benchmarks.scale"


def a_file(folder: Path, count: int) -> Path:
    """Write a manifest with one flow mapping per line, as scripts do."""
    file = folder / f"{count}.yaml"
    with file.open("w") as out:
        out.write("version: 1\nname: large\nitems:\n")
        for number in range(count):
            row = {"id": f"item-{number}", "image": f"https://example.com/pictures/{number}.jpg"}
            out.write(f"  - {json.dumps({**row, 'prompt': f'Take {number}: she turns to the camera and smiles'})}\n")
    return file


def measure(step: str, file: Path, servers: Servers) -> tuple[float, int]:
    """Run a step in a process. Return (seconds, peak memory in MB)."""
    output, _ = servers.program("-m", _HERE, step, str(file)).communicate(timeout=900)
    seconds, megabytes = output.split()
    return float(seconds), int(megabytes)


def step(name: str, file: Path) -> None:
    """Run one step and print its seconds and peak memory."""
    from pipeline.batches.service import Service
    from pipeline.settings import load

    service = Service.connect(load())
    service.ledger.redis.ping()
    service.storage.connect()
    started = time.perf_counter()
    text = file.read_bytes()
    if name == "loader":
        yaml.load(text, Loader=yaml.CSafeLoader)
    else:
        manifest = manifests.parse(text, file=str(file), read_rows=_no_rows, local_files=None)
        if name == "submit":
            service.submission.submit(manifest, file.stem, trigger="bench", folder=None)
    seconds = time.perf_counter() - started
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def _no_rows(reference: str) -> bytes:
    raise FileNotFoundError(reference)


def main(quick: bool) -> None:
    """Print the figures. The batch stays pending, because no workers run."""
    count = 20_000 if quick else 100_000
    with running_servers(empty=True) as servers:
        redis = Redis.from_url(servers.environment["REDIS_URL"])
        small, large = a_file(servers.folder, 100), a_file(servers.folder, count)
        loader, _ = measure("loader", large, servers)
        validate, _ = measure("validate", large, servers)
        measure("submit", small, servers)
        before = redis.info("memory")["used_memory"]
        submit, megabytes = measure("submit", large, servers)
        per_item = (redis.info("memory")["used_memory"] - before) / count
        print(f"\nScale, a manifest of {count:,} items")
        print(f"  PyYAML's C loader alone            {loader:.2f} s")
        print(f"  validated                          {validate:.2f} s, {validate / loader:.2f} x")
        print(f"  validated and submitted            {submit:.2f} s, {submit / loader:.2f} x, at most {megabytes} MB")
        print(f"  Redis per pending item             {per_item:,.0f} bytes")
        few, many = _status_s(servers, small.stem), _status_s(servers, large.stem)
        print(f"  status of 100 items {few:.2f} s, of {count:,} {many:.2f} s, {many / few:.2f} x")


def _status_s(servers: Servers, batch: str) -> float:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        process = servers.program("-m", "pipeline", "status", batch, "--json")
        process.communicate(timeout=60)
        times.append(time.perf_counter() - started)
    return sorted(times)[1]


if __name__ == "__main__":
    step(sys.argv[1], Path(sys.argv[2]))
