"""The cost of an item by the size of its batch: items per second with many and with few pending items."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any

from redis import Redis
from support.processes import Up, until

from benchmarks.environment import Servers, dailies, running_servers, spread
from benchmarks.processes import cpu_s
from benchmarks.throughput import a_manifest, ours
from pipeline.batches.service import Service
from pipeline.domain.model import Limits

_WARM = 100
_MAX_ACTIVE = 128


def speed(servers: Servers, up: Up, pending: int, counted: int) -> tuple[float, float, float, float]:
    """Run a batch of `pending` items and measure `counted` of them.

    Return (items per second, ms of CPU per item in workers, in Valkey, Redis commands per item, with those in scripts).
    """
    redis = Redis.from_url(servers.environment["REDIS_URL"])
    workers, valkey = up.pids("rq worker"), [int(redis.info("server")["process_id"])]
    service = servers.service()
    name = f"batch-{pending}"
    # The limit keeps posting and collecting in the same proportion for both sizes.
    manifest = replace(a_manifest(name, servers.image, pending), limits=Limits(max_active=_MAX_ACTIVE))
    service.submission.submit(manifest, name, trigger="bench", folder=None)
    until(lambda: _ended(service, name) > _WARM, "the first items")
    first, started = _ended(service, name), time.perf_counter()
    before = cpu_s(workers), cpu_s(valkey), _commands(redis)
    until(lambda: _ended(service, name) > first + counted, "the next items")
    count, took = _ended(service, name) - first, time.perf_counter() - started
    own, server, commands = (
        cpu_s(workers) - before[0],
        cpu_s(valkey) - before[1],
        _commands(redis) - before[2],
    )
    return count / took, 1000 * own / count, 1000 * server / count, commands / count


def _commands(redis: Redis) -> int:
    stats: dict[str, Any] = redis.info("commandstats")
    return sum(int(figures["calls"]) for figures in stats.values())


def _ended(service: Service, name: str) -> int:
    return service.ledger.batches.get(name).counts.get("succeeded", 0)


def main(quick: bool) -> None:
    """Print the figures. Each batch has a new ledger; the two sizes alternate."""
    many, rounds, counted = (20_000, 1, 300) if quick else (100_000, 3, 500)
    measured: dict[int, list[tuple[float, float, float, float]]] = {1000: [], many: []}
    for _ in range(rounds):
        for pending, figures in measured.items():
            with running_servers(empty=True, task_s=0.2) as servers, dailies(servers) as up:
                ours(servers, 50, "warm")
                figures.append(speed(servers, up, pending, counted))
    print("\nCost per item by the number of pending items")
    for pending, figures in measured.items():
        rates, workers, valkey, commands = (list(column) for column in zip(*figures, strict=True))
        print(
            f"  {pending:>7,}: {spread(rates)} items/s; per item: CPU of workers {median(workers):.2f} ms, "
            f"of Valkey {median(valkey):.2f} ms, {median(commands):.1f} Redis commands"
        )
    few, more = (median(figure[0] for figure in figures) for figures in measured.values())
    print(f"  {more / few:.2f} x")
