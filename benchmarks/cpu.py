"""The CPU time of an item by process, and its requests to Redis and to the vendor."""

from __future__ import annotations

from typing import Any

from redis import Redis

from benchmarks.environment import dailies, running_servers
from benchmarks.processes import cpu_s, running
from benchmarks.throughput import ours


def main(quick: bool) -> None:
    """Print the figures of one batch."""
    count = 200 if quick else 1500
    with running_servers(task_s=0.2) as servers, dailies(servers) as up:
        ours(servers, 50, "warm")
        sandbox_port = servers.sandbox.address.rpartition(":")[2]
        redis = Redis.from_url(servers.environment["REDIS_URL"])
        kinds = {
            "workers": up.pids("rq worker"),
            "web": up.pids("pipeline.web"),
            "Valkey": [int(redis.info("server")["process_id"])],
            "SeaweedFS": running(str(servers.folder / "s3")),
            "sandbox": running(f"sandbox --port {sandbox_port}"),
        }
        redis.config_resetstat()
        cpu, requests = {name: cpu_s(pids) for name, pids in kinds.items()}, servers.sandbox.stats()["requests"]
        speed = ours(servers, count, "batch")
        print(f"\nCPU per item, ms ({count:,} items, {speed:.1f} items/s)")
        for name, pids in kinds.items():
            print(f"  {name:<10} {1000 * (cpu_s(pids) - cpu[name]) / count:.2f}")
        stats: dict[str, Any] = redis.info("commandstats")
        print("Redis commands per item:")
        for name, figures in sorted(stats.items(), key=lambda pair: -pair[1]["calls"])[:12]:
            print(f"  {name.removeprefix('cmdstat_'):<16} {figures['calls'] / count:.2f}")
        print("Requests to the vendor per item:")
        for name, number in servers.sandbox.stats()["requests"].items():
            print(f"  {name:<16} {(number - requests.get(name, 0)) / count:.2f}")
