"""Where an item's CPU goes, by process, and what it asks of Redis and of the vendor."""

from __future__ import annotations

from typing import Any

from redis import Redis

from benchmarks.environment import dailies, surroundings
from benchmarks.processes import cpu_s, running
from benchmarks.throughput import ours


def main(quick: bool) -> None:
    """Print the figures of one batch."""
    count = 200 if quick else 1500
    with surroundings(task_s=0.2) as around, dailies(around) as up:
        ours(around, 50, "warm")
        sandbox_port = around.sandbox.place.rpartition(":")[2]
        redis = Redis.from_url(around.environment["REDIS_URL"])
        kinds = {
            "workers": up.pids("rq worker"),
            "web": up.pids("pipeline.web"),
            "Valkey": [int(redis.info("server")["process_id"])],
            "SeaweedFS": running(str(around.folder / "s3")),
            "sandbox": running(f"sandbox --port {sandbox_port}"),
        }
        redis.config_resetstat()
        cpu, asked = {name: cpu_s(pids) for name, pids in kinds.items()}, around.sandbox.stats()["requests"]
        speed = ours(around, count, "batch")
        print(f"\nCPU of an item, ms ({count:,} items, {speed:.1f} items/s)")
        for name, pids in kinds.items():
            print(f"  {name:<10} {1000 * (cpu_s(pids) - cpu[name]) / count:.2f}")
        stats: dict[str, Any] = redis.info("commandstats")
        print("Redis, of an item:")
        for name, figures in sorted(stats.items(), key=lambda pair: -pair[1]["calls"])[:12]:
            print(f"  {name.removeprefix('cmdstat_'):<16} {figures['calls'] / count:.2f}")
        print("The vendor, of an item:")
        for name, number in around.sandbox.stats()["requests"].items():
            print(f"  {name:<16} {(number - asked.get(name, 0)) / count:.2f}")
