"""Copying an output from the CDN to S3, against boto3's plain upload of a local file of the same size."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import boto3
from aiohttp import web
from running import answers, until

from benchmarks.processes import memory_mb
from benchmarks.surroundings import BUCKET, Surroundings, spread, surroundings
from pipeline.embedded import HOST, free_ports
from pipeline.fetch import Fetcher
from pipeline.storage import Storage

_HERE = "benchmarks.outputs"
_MB = 10**6


def copy(host: str, folder: Path, size: int, times: int) -> None:
    """Ours: seconds of each copy, and how much memory more than idle it took at most."""
    fetcher, storage = Fetcher([host], most_bytes=4096 * _MB), Storage(os.environ["AWS_ENDPOINT_URL_S3"])

    def one(name: str, bytes_: int) -> None:
        with fetcher.open(f"http://{host}/{name}", content_type="video/mp4", size=bytes_) as download:
            storage.put_stream(f"s3://{BUCKET}/ours/{name}", download, "video/mp4")

    one("warm", 1000)
    idle = memory_mb("VmRSS")
    _report(times, lambda: one(str(size), size), lambda: memory_mb("VmHWM") - idle)


def upload(host: str, folder: Path, size: int, times: int) -> None:
    """The peer: boto3 as it comes."""
    client = boto3.client("s3")
    client.upload_file(str(folder / "warm"), BUCKET, "peer/warm")
    idle = memory_mb("VmRSS")
    _report(
        times,
        lambda: client.upload_file(str(folder / str(size)), BUCKET, f"peer/{size}"),
        lambda: memory_mb("VmHWM") - idle,
    )


def _report(times: int, work: Callable[[], None], megabytes: Callable[[], float]) -> None:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds, "over_idle_mb": megabytes(), "cpu_s": time.process_time()}))


def serve(host: str, folder: Path, *_: int) -> None:
    """The CDN: files of a folder."""
    app = web.Application()
    app.router.add_static("/", folder)
    web.run_app(app, host=HOST, port=int(host.partition(":")[2]), print=None)


def measure(around: Surroundings, name: str, host: str, size: int, times: int) -> tuple[list[float], float]:
    """(MB/s of each copy, MB over idle) of `copy` or `upload`, in a process of its own."""
    process = around.program("-m", _HERE, name, host, str(around.folder / "cdn"), str(size), str(times))
    output, _ = process.communicate(timeout=600)
    told = json.loads(output)
    return [size / _MB / seconds for seconds in told["seconds"]], told["over_idle_mb"]


def main(quick: bool) -> None:
    """Print the figures; the two take turns."""
    sizes = {1: 30, 50: 2} if quick else {1: 50, 50: 4, 1000: 1}
    rounds = 1 if quick else 3
    with surroundings() as around:
        folder = around.folder / "cdn"
        folder.mkdir()
        (folder / "warm").write_bytes(os.urandom(1000))
        (port,) = free_ports(folder, 1)
        host = f"{HOST}:{port}"
        cdn = around.program("-m", _HERE, "serve", host, str(folder), "0", "0")
        until(lambda: answers(f"http://{host}/warm"), "the CDN")
        print("\nOutputs, CDN to S3 (boto3: from a local file), MB/s")
        try:
            for megabytes, times in sizes.items():
                size = megabytes * _MB
                with (folder / str(size)).open("wb") as file:
                    for _ in range(megabytes):
                        file.write(os.urandom(_MB))
                _print(around, host, size, times, rounds)
                (folder / str(size)).unlink()
        finally:
            cdn.terminate()
            cdn.wait(30)


def _print(around: Surroundings, host: str, size: int, times: int, rounds: int) -> None:
    ours, peers, memory = [], [], []
    for _ in range(rounds):
        speeds, over_idle = measure(around, "copy", host, size, times)
        ours.append(median(speeds))
        memory.append(over_idle)
        peers.append(median(measure(around, "upload", host, size, times)[0]))
    print(
        f"  {size // _MB:>5,} MB  Dailies {spread(ours):<24} boto3 {spread(peers):<24} "
        f"{median(ours) / median(peers):.2f} x, at most {max(memory):.0f} MB over idle",
        flush=True,
    )


if __name__ == "__main__":
    _STEPS: dict[str, Callable[[str, Path, int, int], None]] = {"copy": copy, "upload": upload, "serve": serve}
    _STEPS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
