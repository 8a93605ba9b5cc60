"""Items per second from submit to the outputs on S3: Dailies and its peers in the same run."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from redis import Redis
from rq import Queue
from support.processes import ROOT, answers, bare_environment, until

from benchmarks.environment import Servers, dailies, running_servers, spread
from pipeline.domain.model import Item, Limits, Manifest
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.local.servers import HOST, free_ports

PREFECT = ROOT / ".venv" / "prefect" / "bin" / "python"
"""Prefect has its own environment, because its dependencies conflict with the service's. `make bench` creates it."""
_NUMBERS = itertools.count(1)
MODEL = "minimax/image-to-video-hailuo-01-subject"


def a_manifest(name: str, image: str, count: int) -> Manifest:
    """Return a manifest of `count` items with the same image."""
    items = tuple(Item(f"i{number}", image, f"p {number}", {}) for number in range(count))
    return Manifest(name, MODEL, None, "inputImageFirst", {}, Limits(), None, items)


def ours(servers: Servers, count: int, name: str) -> float:
    """Return the items per second of a batch, from submit to its results."""
    service = servers.service()
    name = f"{name}-{next(_NUMBERS)}"
    started = time.perf_counter()
    service.submission.submit(a_manifest(name, servers.image, count), name, trigger="bench", folder=None)
    while service.ledger.batches.get(name).status not in BATCH_TERMINAL:
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    counts = service.ledger.batches.get(name).counts
    assert counts == {"succeeded": count}, counts
    return count / seconds


def bare_loop(servers: Servers, count: int) -> float:
    """Return the items per second of the bare loop. Its tasks take no time."""
    servers.sandbox.change(task_s=0)
    output, _ = servers.program("-m", "benchmarks.peers.bare_loop", str(count), servers.image).communicate(timeout=600)
    servers.sandbox.change(task_s=0.2)
    return float(output)


def rq_simple(servers: Servers, count: int) -> float:
    """Return the items per second of two RQ SimpleWorkers."""
    return _rq(servers, count, "rq.SimpleWorker")


def rq_stock(servers: Servers, count: int) -> float:
    """Return the items per second of two stock `rq worker`s, which fork for each job."""
    return _rq(servers, count, "rq.Worker")


def _rq(servers: Servers, count: int, worker: str) -> float:
    redis = Redis.from_url(servers.environment["REDIS_URL"])
    queue = Queue("bench", connection=redis)
    command = ["-m", "rq.cli", "worker", "--url", servers.environment["REDIS_URL"], "-w", worker, "-q", "bench"]
    workers = [servers.program(*command) for _ in range(2)]

    def enqueue() -> None:
        for number in range(count):
            queue.enqueue("benchmarks.peers.rq_steps.submit", number, servers.image, result_ttl=0)

    try:
        return _timed(redis, count, enqueue)
    finally:
        for process in workers:
            process.terminate()
            process.wait(30)


def celery(servers: Servers, count: int) -> float:
    """Return the items per second of Celery: one task per step, two prefork processes."""
    redis = Redis.from_url(servers.environment["REDIS_URL"])
    from benchmarks.peers import celery_steps

    worker = servers.program(
        "-m", "celery", "-A", "benchmarks.peers.celery_steps", "worker", "-c", "2", "-l", "ERROR", "--without-gossip",
        "--without-mingle", "--without-heartbeat",
    )  # fmt: skip
    submit: Any = celery_steps.submit

    def enqueue() -> None:
        for number in range(count):
            submit.delay(number, servers.image)

    try:
        return _timed(redis, count, enqueue)
    finally:
        worker.terminate()
        worker.wait(30)


def prefect(servers: Servers, count: int) -> float:
    """Return the items per second of Prefect 3 with its own server: a flow, one task per step, 16 threads."""
    (port,) = free_ports(servers.folder, 1)
    address = f"http://{HOST}:{port}/api"
    environment = {
        **bare_environment(),
        **servers.environment,
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(servers.folder / "prefect"),
        "PREFECT_API_URL": address,
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    serve = ["-m", "prefect", "server", "start", "--host", HOST, "--port", str(port), "--no-ui"]
    with (servers.folder / "prefect.log").open("ab") as log:
        server = subprocess.Popen([str(PREFECT), *serve], cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: answers(f"{address}/health"), "Prefect's server")
            command = [str(PREFECT), "-m", "benchmarks.peers.prefect_steps", str(count), servers.image]
            return float(subprocess.check_output(command, cwd=ROOT, env=environment, stderr=log, timeout=600))
        finally:
            server.terminate()
            server.wait(30)


def _timed(redis: Redis, count: int, enqueue: Callable[[], None]) -> float:
    """Return the items per second of a peer. Its Redis writes to disk once a second; for Dailies, at every write."""
    redis.config_set("appendfsync", "everysec")
    redis.delete("bench:done")
    time.sleep(3)  # The start of the workers is not measured.
    started = time.perf_counter()
    enqueue()
    while int(redis.get("bench:done") or 0) < count:
        time.sleep(0.02)
        assert time.perf_counter() - started < 600, "the peer did not finish within 600 s"
    speed = count / (time.perf_counter() - started)
    redis.config_set("appendfsync", "always")
    return speed


def main(quick: bool) -> None:
    """Print the table."""
    rounds, count, few = (1, 120, 4) if quick else (3, 1500, 80)
    figures: dict[str, list[float]] = {}
    with running_servers(task_s=0.2) as servers:
        for turn in range(rounds):
            with dailies(servers):
                ours(servers, 50, f"warm-{turn}")
                figures.setdefault("Dailies", []).append(ours(servers, count, f"batch-{turn}"))
            figures.setdefault("bare loop", []).append(bare_loop(servers, count))
            figures.setdefault("Celery, a task per step", []).append(celery(servers, count))
            figures.setdefault("RQ SimpleWorker x 2, a job per step", []).append(rq_simple(servers, count))
            if not quick and PREFECT.exists():
                figures.setdefault("Prefect 3, a flow, a task per step", []).append(prefect(servers, few))
            figures.setdefault("stock rq worker x 2, a job per step", []).append(rq_stock(servers, few))
    print("\nThroughput, items/s (outputs of 200 kB, two workers)")
    own = median(figures["Dailies"])
    for name, values in figures.items():
        print(f"  {name:<36} {spread(values):<28} Dailies is {own / median(values):.2f} x")
