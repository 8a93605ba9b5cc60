"""Copying an output from the CDN to S3, against boto3's plain upload of a local file of the same size."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import boto3
from aiohttp import web
from support.processes import answers, until

from benchmarks.environment import BUCKET, Servers, running_servers, spread
from benchmarks.processes import memory_mb
from pipeline.local.servers import HOST, free_ports
from pipeline.net.download import Downloader
from pipeline.storage.s3 import Storage

_HERE = "benchmarks.outputs"
_MB = 10**6


def copying(host: str) -> Callable[[str, int], None]:
    """Return our copy function: it copies a file of the CDN, given name and size."""
    downloader, storage = Downloader([host], max_bytes=4096 * _MB), Storage(os.environ["AWS_ENDPOINT_URL_S3"])

    def copy(name: str, size: int) -> None:
        with downloader.open(f"http://{host}/{name}", size=size) as download:
            storage.put_stream(f"s3://{BUCKET}/ours/{name}", download, "video/mp4")

    copy("warm", 1000)
    return copy


def compare(host: str, folder: Path, size: int, times: int) -> None:
    """Print seconds of our copies and of uploads by boto3 with its defaults, alternately."""
    copy, client = copying(host), boto3.client("s3")
    file = folder / str(size)
    actions: list[Callable[[], None]] = [
        lambda: copy(file.name, size),
        lambda: client.upload_file(str(file), BUCKET, f"peer/{size}"),
    ]
    for action in actions:
        action()
    print(json.dumps([[_seconds(action) for action in actions] for _ in range(times)]))


def memory(host: str, folder: Path, size: int, times: int) -> None:
    """Print the peak memory of our copies above idle, MB."""
    copy = copying(host)
    idle = memory_mb("VmRSS")
    for _ in range(times):
        copy(str(size), size)
    print(json.dumps(memory_mb("VmHWM") - idle))


def _seconds(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def serve(host: str, folder: Path, *_: int) -> None:
    """Serve the files of a folder as the CDN."""
    app = web.Application()
    app.router.add_static("/", folder)
    web.run_app(app, host=HOST, port=int(host.partition(":")[2]), print=None)


def measure(servers: Servers, step: str, host: str, size: int, times: int) -> Any:
    """Run a step in a process. Return what it prints, parsed."""
    process = servers.program("-m", _HERE, step, host, str(servers.folder / "cdn"), str(size), str(times))
    return json.loads(process.communicate(timeout=600)[0])


def main(quick: bool) -> None:
    """Print the figures."""
    sizes = {1: 15, 50: 2} if quick else {1: 100, 50: 15, 1000: 3}
    with running_servers() as servers:
        folder = servers.folder / "cdn"
        folder.mkdir()
        (folder / "warm").write_bytes(os.urandom(1000))
        (port,) = free_ports(folder, 1)
        host = f"{HOST}:{port}"
        cdn = servers.program("-m", _HERE, "serve", host, str(folder), "0", "0")
        until(lambda: answers(f"http://{host}/warm"), "the CDN")
        print("\nOutputs, CDN to S3 (boto3: from a local file), MB/s")
        try:
            for megabytes, times in sizes.items():
                size = megabytes * _MB
                with (folder / str(size)).open("wb") as file:
                    for _ in range(megabytes):
                        file.write(os.urandom(_MB))
                pairs = measure(servers, "compare", host, size, times)
                ours, peers = ([megabytes / seconds for seconds in one] for one in zip(*pairs, strict=True))
                limit = measure(servers, "memory", host, size, min(times, 3))
                print(
                    f"  {megabytes:>5,} MB  Dailies {spread(ours):<24} boto3 {spread(peers):<24} "
                    f"{median(ours) / median(peers):.2f} x, at most {limit:.0f} MB above idle",
                    flush=True,
                )
                (folder / str(size)).unlink()
        finally:
            cdn.terminate()
            cdn.wait(30)


if __name__ == "__main__":
    _STEPS: dict[str, Callable[[str, Path, int, int], None]] = {"compare": compare, "memory": memory, "serve": serve}
    _STEPS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
