"""The idle service: CPU and Redis commands of all processes of `up`."""

from __future__ import annotations

import time
from typing import Any

from redis import Redis

from benchmarks.environment import dailies, running_servers
from benchmarks.processes import cpu_s
from benchmarks.throughput import ours

_SETTLE_S = 5
_OWN_COMMANDS = {"info"}
"""Commands of this measurement."""
_COMMAND_LINES = {
    "workers": "rq worker",
    "web": "pipeline.web",
    "cron": "jobs.cron",
    "listener": "pipeline listen",
    "up": "pipeline up",
}
"""A part of the command line of each kind of process."""


def main(quick: bool) -> None:
    """Print the figures."""
    seconds = 5 if quick else 30
    with running_servers() as servers, dailies(servers) as up:
        redis = Redis.from_url(servers.environment["REDIS_URL"])
        # One batch, so that every process is warm.
        ours(servers, 20, "warm")
        time.sleep(2 if quick else _SETTLE_S)
        kinds = {name: up.pids(words) for name, words in _COMMAND_LINES.items()}
        everything = up.pids("")
        cpu, calls = {name: cpu_s(pids) for name, pids in kinds.items()}, _calls(redis)
        before, started = cpu_s(everything), time.monotonic()
        time.sleep(seconds)
        took, share = time.monotonic() - started, cpu_s(everything) - before
        after = _calls(redis)
        print(f"\nIdle, {len(everything)} processes with two workers, {took:.0f} s")
        print(f"  CPU {100 * share / took:.2f} % of a core")
        for name, pids in kinds.items():
            print(f"    {name:<10} {100 * (cpu_s(pids) - cpu[name]) / took:.2f} %")
        counts = {
            name: (count - calls.get(name, 0)) / took for name, count in after.items() if name not in _OWN_COMMANDS
        }
        print(f"  Redis {sum(counts.values()):.1f} commands per second, including those in scripts:")
        for name, count in sorted(counts.items(), key=lambda pair: -pair[1]):
            if count:
                print(f"    {name:<20} {count:.2f}")


def _calls(redis: Redis) -> dict[str, int]:
    stats: dict[str, Any] = redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(figures["calls"]) for name, figures in stats.items()}
