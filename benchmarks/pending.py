"""Whether anything in an item's way grows with its batch: items per second with many pending and with few."""

from __future__ import annotations

import time

from redis import Redis
from running import Up

from benchmarks.processes import cpu_s
from benchmarks.surroundings import Surroundings, dailies, surroundings
from benchmarks.throughput import a_manifest, ours
from pipeline.service import Service


def speed(around: Surroundings, up: Up, pending: int, most_done: int) -> tuple[float, float, float]:
    """Of the first work on a batch of `pending`: items per second, ms of CPU of an item in workers, in Valkey."""
    redis = Redis.from_url(around.environment["REDIS_URL"])
    workers, valkey = up.pids("rq worker"), [int(redis.info("server")["process_id"])]
    service = around.service()
    name = f"batch-{pending}"
    service.submit(a_manifest(name, around.image, pending), name, trigger="bench", folder=None)
    before = _done(around, service, name)
    began, cpu = time.perf_counter(), (cpu_s(workers), cpu_s(valkey))
    while (after := _done(around, service, name)) < before + most_done:
        time.sleep(0.05)
    count, took = after - before, time.perf_counter() - began
    return count / took, 1000 * (cpu_s(workers) - cpu[0]) / count, 1000 * (cpu_s(valkey) - cpu[1]) / count


def _done(around: Surroundings, service: Service, name: str) -> float:
    """Half an item for its Run, half for its end: workers post far ahead of what has ended when there is much to do."""
    ended = service.ledger.batch(name).counts.get("succeeded", 0)
    runs: int = around.sandbox.stats()["runs"]
    return (runs + ended) / 2


def main(quick: bool) -> None:
    """Print the figures; each batch in surroundings of its own."""
    many, done = (20_000, 300) if quick else (100_000, 800)
    speeds = {}
    for pending in (1000, many):
        with surroundings(task_s=0.2) as around, dailies(around) as up:
            ours(around, 50, "warm")
            speeds[pending] = speed(around, up, pending, done)
    print("\nHow many are pending, and what the next ones take")
    for pending, (rate, workers, valkey) in speeds.items():
        print(f"  {pending:>7,}: {rate:.1f} items/s; CPU of an item: workers {workers:.2f} ms, Valkey {valkey:.2f} ms")
    print(f"  {speeds[many][0] / speeds[1000][0]:.2f} x")
