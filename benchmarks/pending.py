"""Whether anything in an item's way grows with its batch: items per second with many pending and with few."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any

from redis import Redis
from support.processes import Up, until

from benchmarks.environment import ValidationContext, dailies, spread, surroundings
from benchmarks.processes import cpu_s
from benchmarks.throughput import a_manifest, ours
from pipeline.batches.service import Service
from pipeline.domain.model import Limits

_WARM = 100
_MAX_ACTIVE = 128


def speed(around: ValidationContext, up: Up, pending: int, counted: int) -> tuple[float, float, float, float]:
    """Of a batch of `pending`, once it is under way: items per second; of an item ms of CPU in workers, in Valkey, and
    Redis commands, those inside scripts included.
    """
    redis = Redis.from_url(around.environment["REDIS_URL"])
    workers, valkey = up.pids("rq worker"), [int(redis.info("server")["process_id"])]
    service = around.service()
    name = f"batch-{pending}"
    # Runs cannot run ahead of ends: both sizes are in the same balance of posting and collecting.
    manifest = replace(a_manifest(name, around.image, pending), limits=Limits(max_active=_MAX_ACTIVE))
    service.submission.submit(manifest, name, trigger="bench", folder=None)
    until(lambda: _ended(service, name) > _WARM, "the first items")
    first, began = _ended(service, name), time.perf_counter()
    before = cpu_s(workers), cpu_s(valkey), _commands(redis)
    until(lambda: _ended(service, name) > first + counted, "the next items")
    count, took = _ended(service, name) - first, time.perf_counter() - began
    own, server, commands = cpu_s(workers) - before[0], cpu_s(valkey) - before[1], _commands(redis) - before[2]
    return count / took, 1000 * own / count, 1000 * server / count, commands / count


def _commands(redis: Redis) -> int:
    stats: dict[str, Any] = redis.info("commandstats")
    return sum(int(figures["calls"]) for figures in stats.values())


def _ended(service: Service, name: str) -> int:
    return service.ledger.batches.get(name).counts.get("succeeded", 0)


def main(quick: bool) -> None:
    """Print the figures; each batch on a ledger of its own, the two sizes in turns."""
    pluralize, rounds, counted = (20_000, 1, 300) if quick else (100_000, 3, 500)
    found: dict[int, list[tuple[float, float, float, float]]] = {1000: [], pluralize: []}
    for _ in range(rounds):
        for pending, figures in found.items():
            with surroundings(empty=True, task_s=0.2) as around, dailies(around) as up:
                ours(around, 50, "warm")
                figures.append(speed(around, up, pending, counted))
    print("\nHow many are pending, and what the next ones take")
    for pending, figures in found.items():
        rates, workers, valkey, commands = (list(column) for column in zip(*figures, strict=True))
        print(
            f"  {pending:>7,}: {spread(rates)} items/s; of an item: CPU of workers {median(workers):.2f} ms, "
            f"of Valkey {median(valkey):.2f} ms, {median(commands):.1f} Redis commands"
        )
    few, more = (median(figure[0] for figure in figures) for figures in found.values())
    print(f"  {more / few:.2f} x")
