"""Whether anything in an item's way grows with its batch: items per second with many pending and with few."""

from __future__ import annotations

import time
from statistics import median

from redis import Redis
from running import Up, until

from benchmarks.processes import cpu_s
from benchmarks.surroundings import Surroundings, dailies, spread, surroundings
from benchmarks.throughput import a_manifest, ours
from pipeline.service import Service

_WARM = 50


def speed(around: Surroundings, up: Up, pending: int, window_s: float) -> tuple[float, float, float]:
    """Of a batch of `pending`, once it is under way: items per second, ms of CPU of an item in workers, in Valkey."""
    redis = Redis.from_url(around.environment["REDIS_URL"])
    workers, valkey = up.pids("rq worker"), [int(redis.info("server")["process_id"])]
    service = around.service()
    name = f"batch-{pending}"
    start = _done(around, service, None)
    service.submit(a_manifest(name, around.image, pending), name, trigger="bench", folder=None)
    until(lambda: _done(around, service, name) > start + _WARM, "the first items")
    before, began, cpu = _done(around, service, name), time.perf_counter(), (cpu_s(workers), cpu_s(valkey))
    time.sleep(window_s)
    count, took = _done(around, service, name) - before, time.perf_counter() - began
    return count / took, 1000 * (cpu_s(workers) - cpu[0]) / count, 1000 * (cpu_s(valkey) - cpu[1]) / count


def _done(around: Surroundings, service: Service, name: str | None) -> float:
    """Half an item for its Run, half for its end: workers post far ahead of what has ended when there is much to do."""
    ended = service.ledger.batch(name).counts.get("succeeded", 0) if name else 0
    runs: int = around.sandbox.stats()["runs"]
    return (runs + ended) / 2


def main(quick: bool) -> None:
    """Print the figures; each batch on a ledger of its own, the two sizes in turns."""
    many, rounds, window_s = (20_000, 1, 2.0) if quick else (100_000, 3, 2.0)
    found: dict[int, list[tuple[float, float, float]]] = {1000: [], many: []}
    for _ in range(rounds):
        for pending, figures in found.items():
            with surroundings(empty=True, task_s=0.2) as around, dailies(around) as up:
                ours(around, 50, "warm")
                figures.append(speed(around, up, pending, window_s))
    print("\nHow many are pending, and what the next ones take")
    for pending, figures in found.items():
        rates, workers, valkey = (list(column) for column in zip(*figures, strict=True))
        print(
            f"  {pending:>7,}: {spread(rates)} items/s; CPU of an item: workers {median(workers):.2f} ms, "
            f"Valkey {median(valkey):.2f} ms"
        )
    few, more = (median(figure[0] for figure in figures) for figures in found.values())
    print(f"  {more / few:.2f} x")
