"""Items per second from submit to outputs on S3: Dailies and its peers, in the same run."""

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

from benchmarks.environment import ValidationContext, dailies, spread, surroundings
from pipeline.domain.model import Item, Limits, Manifest
from pipeline.domain.states import BATCH_TERMINAL
from pipeline.local.servers import HOST, free_ports

PREFECT = ROOT / ".venv" / "prefect" / "bin" / "python"
"""Prefect has a place of its own: it needs other versions of what the service needs, too. `make bench` installs it."""
_NUMBERS = itertools.count(1)
MODEL = "minimax/image-to-video-hailuo-01-subject"


def a_manifest(name: str, image: str, count: int) -> Manifest:
    """`count` items of the same picture."""
    items = tuple(Item(f"i{number}", image, f"p {number}", {}) for number in range(count))
    return Manifest(name, MODEL, None, "inputImageFirst", {}, Limits(), None, items)


def ours(around: ValidationContext, count: int, name: str) -> float:
    """Items per second of a batch, its results written."""
    service = around.service()
    name = f"{name}-{next(_NUMBERS)}"
    began = time.perf_counter()
    service.submission.submit(a_manifest(name, around.image, count), name, trigger="bench", folder=None)
    while service.ledger.batches.get(name).status not in BATCH_TERMINAL:
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    counts = service.ledger.batches.get(name).counts
    assert counts == {"succeeded": count}, counts
    return count / seconds


def bare_loop(around: ValidationContext, count: int) -> float:
    """The bare loop, which has nothing to wait for: tasks take no time."""
    around.sandbox.change(task_s=0)
    output, _ = around.program("-m", "benchmarks.peers.bare_loop", str(count), around.image).communicate(timeout=600)
    around.sandbox.change(task_s=0.2)
    return float(output)


def rq_simple(around: ValidationContext, count: int) -> float:
    """RQ SimpleWorker x 2."""
    return _rq(around, count, "rq.SimpleWorker")


def rq_stock(around: ValidationContext, count: int) -> float:
    """Stock `rq worker` x 2: each job is forked and makes its clients."""
    return _rq(around, count, "rq.Worker")


def _rq(around: ValidationContext, count: int, worker: str) -> float:
    redis = Redis.from_url(around.environment["REDIS_URL"])
    queue = Queue("bench", connection=redis)
    command = ["-m", "rq.cli", "worker", "--url", around.environment["REDIS_URL"], "-w", worker, "-q", "bench"]
    workers = [around.program(*command) for _ in range(2)]

    def enqueue() -> None:
        for number in range(count):
            queue.enqueue("benchmarks.peers.rq_steps.submit", number, around.image, result_ttl=0)

    try:
        return _timed(redis, count, enqueue)
    finally:
        for process in workers:
            process.terminate()
            process.wait(30)


def celery(around: ValidationContext, count: int) -> float:
    """Celery, one task a step, prefork 2."""
    redis = Redis.from_url(around.environment["REDIS_URL"])
    from benchmarks.peers import celery_steps

    worker = around.program(
        "-m", "celery", "-A", "benchmarks.peers.celery_steps", "worker", "-c", "2", "-l", "ERROR", "--without-gossip",
        "--without-mingle", "--without-heartbeat",
    )  # fmt: skip
    submit: Any = celery_steps.submit

    def enqueue() -> None:
        for number in range(count):
            submit.delay(number, around.image)

    try:
        return _timed(redis, count, enqueue)
    finally:
        worker.terminate()
        worker.wait(30)


def prefect(around: ValidationContext, count: int) -> float:
    """Prefect 3 with a server of its own: a flow, a task a step, 16 threads."""
    (port,) = free_ports(around.folder, 1)
    address = f"http://{HOST}:{port}/api"
    environment = {
        **bare_environment(),
        **around.environment,
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(around.folder / "prefect"),
        "PREFECT_API_URL": address,
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    serve = ["-m", "prefect", "server", "start", "--host", HOST, "--port", str(port), "--no-ui"]
    with (around.folder / "prefect.log").open("ab") as log:
        server = subprocess.Popen([str(PREFECT), *serve], cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: answers(f"{address}/health"), "Prefect's server")
            command = [str(PREFECT), "-m", "benchmarks.peers.prefect_steps", str(count), around.image]
            return float(subprocess.check_output(command, cwd=ROOT, env=environment, stderr=log, timeout=600))
        finally:
            server.terminate()
            server.wait(30)


def _timed(redis: Redis, count: int, enqueue: Callable[[], None]) -> float:
    """Peers have Redis as most people run it: on disk once a second. Only Dailies has every write there at once."""
    redis.config_set("appendfsync", "everysec")
    redis.delete("bench:done")
    time.sleep(3)  # Workers come up: not their time to be measured.
    began = time.perf_counter()
    enqueue()
    while int(redis.get("bench:done") or 0) < count:
        time.sleep(0.02)
        assert time.perf_counter() - began < 600, "a peer got stuck"
    speed = count / (time.perf_counter() - began)
    redis.config_set("appendfsync", "always")
    return speed


def main(quick: bool) -> None:
    """Print the table."""
    rounds, count, few = (1, 120, 4) if quick else (3, 1500, 80)
    figures: dict[str, list[float]] = {}
    with surroundings(task_s=0.2) as around:
        for turn in range(rounds):
            with dailies(around):
                ours(around, 50, f"warm-{turn}")
                figures.setdefault("Dailies", []).append(ours(around, count, f"batch-{turn}"))
            figures.setdefault("bare loop", []).append(bare_loop(around, count))
            figures.setdefault("Celery, a task a step", []).append(celery(around, count))
            figures.setdefault("RQ SimpleWorker x 2, a job a step", []).append(rq_simple(around, count))
            if not quick and PREFECT.exists():
                figures.setdefault("Prefect 3, a flow, a task a step", []).append(prefect(around, few))
            figures.setdefault("stock rq worker x 2, a job a step", []).append(rq_stock(around, few))
    print("\nThroughput, items/s (outputs of 200 kB, two workers)")
    own = median(figures["Dailies"])
    for name, values in figures.items():
        print(f"  {name:<36} {spread(values):<28} Dailies is {own / median(values):.2f} x")
