"""The latency of one item in an idle service, and the start time of a command."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from statistics import median, quantiles

from redis import Redis
from rq import Queue
from support.processes import ROOT, until

from benchmarks.environment import Servers, dailies, running_servers
from benchmarks.peers import steps
from benchmarks.throughput import a_manifest
from pipeline.batches.service import Service
from pipeline.domain.states import BATCH_TERMINAL

_RESULTS = ("results.jsonl", "results.csv", "index.html", "results.json")
_STEP_S = 0.001


def one_batch(servers: Servers, service: Service, name: str) -> tuple[float, float]:
    """Return seconds (from submit to the Run, from the callback to results.json). This function sends the callback."""
    service.submission.submit(a_manifest(name, servers.image, 1), name, trigger="bench", folder=None)
    submitted = time.time()
    until(lambda: service.ledger.batches.get(name).counts.get("running"), "the running item")
    task = servers.sandbox.tasks()[-1]
    until(lambda: servers.sandbox.tasks()[-1]["pexit"] == "0", "the end of the task")
    called = time.perf_counter()
    urllib.request.urlopen(urllib.request.Request(task["callback_url"], data=b"{}"), timeout=10).close()
    while service.ledger.batches.get(name).status not in BATCH_TERMINAL:
        time.sleep(_STEP_S)
    return task["taken_at"] - submitted, time.perf_counter() - called


def bare(servers: Servers, times: int) -> list[float]:
    """Return seconds of the same requests by a warm client in sequence: Detail, GET, the PUTs."""
    client = steps.s3()
    token = steps.run(0, servers.image)
    until(lambda: steps.detail(token), "the end of the task")
    seconds = []
    for number in range(times + 1):
        started = time.perf_counter()
        url = steps.detail(token)
        assert url
        steps.put(f"bare/{number}/0.mp4", steps.get(url), client)
        for name in _RESULTS:
            steps.put(f"bare/{number}/{name}", b" " * 2000, client)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def empty_job(servers: Servers, times: int) -> list[float]:
    """Return seconds from the end of `enqueue` to the start of an empty job in a warm idle RQ worker."""
    redis = Redis.from_url(servers.environment["REDIS_URL"])
    queue = Queue("empty", connection=redis)
    command = ["-m", "rq.cli", "worker", "--url", servers.environment["REDIS_URL"], "-w", "rq.SimpleWorker", "-q"]
    worker = servers.program(*command, "empty")
    seconds = []
    try:
        for _ in range(times + 1):
            queue.enqueue("benchmarks.peers.rq_empty.started", result_ttl=0)
            enqueued = time.time()
            message = redis.blpop(["bench:started"], timeout=30)
            assert message, "the worker did not start the job"
            seconds.append(float(message[1]) - enqueued)
    finally:
        worker.terminate()
        worker.wait(30)
    return seconds[1:]


def start_s(args: list[str], times: int) -> float:
    """Return the median seconds of a program from start to exit."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        subprocess.run([sys.executable, *args], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def main(quick: bool) -> None:
    """Print the figures."""
    times = 8 if quick else 25
    with running_servers(task_s=0.1, lose_callbacks=1) as servers:
        with dailies(servers):
            service = servers.service()
            one_batch(servers, service, "warm-0")
            one_batch(servers, service, "warm-1")
            both = [one_batch(servers, service, f"one-{number}") for number in range(times)]
            peers = bare(servers, times)
        jobs = empty_job(servers, times)
    runs, ends = [run for run, _ in both], [end for _, end in both]
    print("\nLatency, a batch of one, the service idle; ms")
    _print("callback to results.json", ends, peers, "the bare requests")
    _print("end of submit to the Run at the vendor", runs, jobs, "an empty RQ job")
    allowed = 0.010 + 1.5 * median(jobs)
    print(
        f"    of which 10 ms and 1.5 x an empty job, {1000 * allowed:.1f}, are allowed: {median(runs) / allowed:.2f} x"
    )
    ours, click = start_s(["-m", "pipeline", "--help"], times), start_s(["-c", "import click"], times)
    print(f"  dailies --help {1000 * ours:.0f}, python -c 'import click' {1000 * click:.0f}: {ours / click:.2f} x")


def _print(what: str, ours: list[float], peers: list[float], peer: str) -> None:
    p95 = quantiles(ours, n=20)[18]
    print(
        f"  {what}: median {1000 * median(ours):.1f}, p95 {1000 * p95:.1f}; {peer}: {1000 * median(peers):.1f}; "
        f"{median(ours) / median(peers):.2f} x, p95 {p95 / median(peers):.2f} x",
        flush=True,
    )
